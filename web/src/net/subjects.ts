import { isToken, type Place, type Realm } from "../model/place";
import { Failure } from "./failure";

/** The purpose of a subject: live messages of a room, its history, or sending. */
export type Verb = "live" | "history" | "send";

/** A room's subject. Throws for an invalid room name, which could make another subject. */
export function subject(verb: Verb, { realm, room }: Place): string {
  if (!isToken(room)) throw new Failure("refused", "No room can have this name.", 400);
  return spell(verb, realm, room);
}

/** The subject template in traces: `chat.send.{room}`. */
export function template(verb: Verb, realm: Realm): string {
  return spell(verb, realm, "{room}");
}

function spell(verb: Verb, realm: Realm, room: string): string {
  return verb === "live" ? `live.${realm}.${room}` : `${realm}.${verb}.${room}`;
}
