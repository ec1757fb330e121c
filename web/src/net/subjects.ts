import { isRoomName, type Place, type Realm } from "../model/place";
import { Failure } from "./failure";

/** What a subject is for: to hear a room, to read its history, to write there. */
export type Verb = "live" | "history" | "send";

/** A room's subject. Throws where no room can have the name: it would be another subject. */
export function subject(verb: Verb, { realm, room }: Place): string {
  if (!isRoomName(room)) throw new Failure("refused", "No room can have this name.", 400);
  return spell(verb, realm, room);
}

/** The same for any room, as traces name it: `chat.send.{room}`. */
export function template(verb: Verb, realm: Realm): string {
  return spell(verb, realm, "{room}");
}

function spell(verb: Verb, realm: Realm, room: string): string {
  return verb === "live" ? `live.${realm}.${room}` : `${realm}.${verb}.${room}`;
}
