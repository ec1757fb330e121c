import type { Me } from "../model/me";
import { isToken, type Realm } from "../model/place";
import { isVisible } from "../model/visible";
import { subject, type Verb } from "./subjects";

/** The answer to `$SYS.REQ.USER.INFO`: the user's own name and permissions. */
export interface UserInfo {
  readonly user?: string;
  readonly permissions?: { readonly publish?: List; readonly subscribe?: List };
}

interface List {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

/** The person of a connection. Null for a login that may read no room. */
export function readMe(info: UserInfo): Me | null {
  const person = readName(info.user ?? "");
  const may = (verb: Verb, realm: Realm) =>
    allows(info.permissions?.publish, subject(verb, { realm, room: "general" }));
  if (!person || !isToken(person.uid) || !may("history", "chat")) return null;
  return {
    ...person,
    mayWrite: may("send", "chat"),
    isAdmin: may("history", "admin"),
  };
}

/** The longest name, in characters. */
const MAX_NAME = 128;

/** A user name is `<uid>~<name>`, the name percent-encoded, or just `<uid>`. */
function readName(user: string): { uid: string; name: string } | null {
  const [uid = "", ...encoded] = user.split("~");
  const name = decoded(encoded.join("~"))?.replace(/\p{Cc}/gu, "");
  if (name === undefined) return null;
  const shown = [...name].slice(0, MAX_NAME).join("");
  return { uid, name: isVisible(shown) ? shown : uid };
}

/** Like the service: a percent sign that is not part of an encoding is kept; null if it is not UTF-8. */
function decoded(name: string): string | null {
  try {
    return name.replace(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent);
  } catch {
    return null;
  }
}

function allows(list: List | undefined, subject: string): boolean {
  const matched = (patterns: readonly string[] = []) =>
    patterns.some((pattern) => matches(pattern, subject));
  return (!list?.allow || matched(list.allow)) && !matched(list?.deny);
}

function matches(pattern: string, subject: string): boolean {
  const tokens = subject.split(".");
  const wanted = pattern.split(".");
  const isTail = wanted.at(-1) === ">";
  if (isTail ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return wanted.every((token, index) => token === ">" || token === "*" || token === tokens[index]);
}
