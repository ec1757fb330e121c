import type { Me } from "../model/me";
import type { Realm } from "../model/place";
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
  const { uid, name } = readName(info.user ?? "");
  const may = (verb: Verb, realm: Realm) =>
    allows(info.permissions?.publish, subject(verb, { realm, room: "general" }));
  if (uid === "" || !may("history", "chat")) return null;
  return {
    uid,
    name,
    mayWrite: may("send", "chat"),
    isAdmin: may("history", "admin"),
  };
}

/** A user is called `<uid>~<name>`, the name percent-encoded, or just `<uid>`. */
function readName(user: string): { uid: string; name: string } {
  const [uid = "", name] = user.split("~", 2);
  try {
    return { uid, name: name ? decodeURIComponent(name) : uid };
  } catch {
    return { uid, name: uid };
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
