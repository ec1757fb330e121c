/** A piece of a message: plain text, or a link. */
export type Piece = { text: string; href?: string };

// Only these schemes are links: `javascript:`, `data:` and the like stay text. A character that
// changes the text direction ends a link, which could otherwise look like another address.
const CANDIDATE = /(?:https?:\/\/|mailto:)[^\s<>"'`\\\u202a-\u202e\u2066-\u2069]+/giu;
const TRAILING = /[.,:;!?…)\]}*_~]+$/u;

/** Splits a message into text and links. No markup is created: React sets both as text. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(CANDIDATE)) {
    const candidate = trim(match[0]);
    const href = address(candidate);
    if (!href || isInsideWord(text, match.index)) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: candidate, href });
    end = match.index + candidate.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

/** Removes punctuation after an address, and a closing bracket that was opened before it. */
function trim(candidate: string): string {
  let kept = candidate;
  for (;;) {
    const tail = TRAILING.exec(kept)?.[0];
    if (!tail) return kept;
    const last = kept.slice(-1);
    if (last === ")" && count(kept, "(") >= count(kept, ")")) return kept;
    kept = kept.slice(0, -1);
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}

function isInsideWord(text: string, index: number): boolean {
  return index > 0 && /[\p{L}\p{N}]/u.test(text[index - 1] ?? "");
}

/** The address as the browser parses it; undefined if it has none of the three schemes. */
function address(candidate: string): string | undefined {
  const url = parsed(candidate);
  if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) return undefined;
  const empty = url.protocol === "mailto:" ? url.pathname === "" : url.hostname === "";
  return empty ? undefined : url.href;
}

/** `URL.parse`, which browsers before 2024 lack. */
function parsed(candidate: string): URL | null {
  try {
    return new URL(candidate);
  } catch {
    return null;
  }
}
