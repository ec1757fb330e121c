import { isVisible } from "../../model/visible";

const HUES = 8;

/** A person's initials on a colour of their own. It repeats the name, so screen readers skip it. */
export function Avatar({ uid, name }: { uid: string; name: string }) {
  return (
    <span className="avatar" data-hue={hue(uid || name)} aria-hidden="true">
      {initials(name)}
    </span>
  );
}

/** The first letters of the first and the last word, by code points so that no emoji is cut. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/u);
  const letters = words.flatMap((word) => [...word].find(isVisible) ?? []);
  const found = letters.length > 1 ? [letters[0], letters.at(-1)] : letters;
  return found.join("").toLocaleUpperCase() || "?";
}

/** FNV-1a: similar names get different colours. */
function hue(text: string): number {
  let hash = 2166136261;
  for (const character of text) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619);
  }
  return (hash >>> 8) % HUES;
}
