/** A part of a message: plain text, inline code, or a block of code. */
export interface Part {
  readonly kind: "said" | "code" | "block";
  /** The content, without backticks. */
  readonly text: string;
}

// A block is between two lines of three or more backticks, the first of which may name a language.
// A line in it that ends with backticks would close a block of the next kind.
const BLOCK =
  /(?<=\n|^)(?<fence>`{3,})[ \t]*(?:[\w+#.,-]+[ \t]*)?\r?\n(?<block>(?:(?!\k<fence>|[^\n`]*\k<fence>[ \t]*\r?\n)[^\n]*\n)+)\k<fence>[ \t]*(?:\r?\n|$)/u;

// As in Slack: several lines of code that begin and end on the lines of the backticks.
const LOOSE =
  /(?<![`\p{L}\p{N}])(?<open>`{3,})(?!`|\s*\k<open>)(?<loose>(?:(?!\k<open>)[^\n])*\n(?:(?!\k<open>)[\s\S])*)\k<open>(?![`\p{L}\p{N}])(?:[ \t]*\r?\n)?/u;

// Inline code is between equally many backticks, and not inside a word.
const INLINE =
  /(?<![`\p{L}\p{N}])(?<ticks>`+)(?!`)(?<code>[^\n]*?[^\n`])\k<ticks>(?![`\p{L}\p{N}])/u;

const CODE = new RegExp(`${BLOCK.source}|${LOOSE.source}|${INLINE.source}`, "gu");

/** Splits a message into text and code. Unclosed backticks are text. */
export function parts(text: string): Part[] {
  const found: Part[] = [];
  let end = 0;
  const say = (upTo: number) => {
    if (upTo > end) found.push({ kind: "said", text: text.slice(end, upTo) });
  };
  for (const match of text.matchAll(CODE)) {
    const { loose, block = loose?.replace(/^[ \t]*\r?\n/, ""), code = "" } = match.groups ?? {};
    say(match.index);
    found.push(block ? { kind: "block", text: block } : { kind: "code", text: code });
    end = match.index + match[0].length;
  }
  say(text.length);
  return found;
}
