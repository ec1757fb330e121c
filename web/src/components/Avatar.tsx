const HUES = 8;

/** A person's initials on a colour that stays theirs. It repeats the name, so it is hidden from screen readers. */
export function Avatar({ uid, name }: { uid: string; name: string }) {
  return (
    <span className="avatar" data-hue={hue(uid || name)} aria-hidden="true">
      {initials(name)}
    </span>
  );
}

/** The first letters of the first and the last word; by code points, so that no emoji is cut in half. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  const found = letters.map((word) => (word ? ([...word][0] ?? "") : "")).join("");
  return found.toLocaleUpperCase() || "?";
}

function hue(text: string): number {
  let sum = 0;
  for (const character of text) {
    sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  }
  return sum % HUES;
}
