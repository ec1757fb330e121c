/** A part of a message: what somebody says, code within a line of it, or a block of code. */
export interface Part {
  readonly kind: "said" | "code" | "block";
  /** Without the backticks around it. */
  readonly text: string;
}

// A block stands between two lines of three backticks, the first of which may name a language.
const BLOCK = /(?<=\n|^)```[^\n`]*\n(?<block>(?:(?!```)[^\n]*\n)+)```[ \t]*(?:\n|$)/u;

// Code in a line stands between as many backticks before it as after it, and not inside of words.
const INLINE =
  /(?<![`\p{L}\p{N}])(?<ticks>`{1,3})(?!`)(?<code>[^\n]*?[^\n`])\k<ticks>(?![`\p{L}\p{N}])/u;

const CODE = new RegExp(`${BLOCK.source}|${INLINE.source}`, "gu");

/** Splits a message into what is code and what is not. What is not closed is no code. */
export function parts(text: string): Part[] {
  const found: Part[] = [];
  let end = 0;
  const say = (upTo: number) => {
    if (upTo > end) found.push({ kind: "said", text: text.slice(end, upTo) });
  };
  for (const match of text.matchAll(CODE)) {
    const { block, code = "" } = match.groups ?? {};
    say(match.index);
    found.push(block ? { kind: "block", text: block } : { kind: "code", text: code });
    end = match.index + match[0].length;
  }
  say(text.length);
  return found;
}
