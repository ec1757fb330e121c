/** A part of a message: what somebody says, code within a line of it, or a block of code. */
export interface Part {
  readonly kind: "said" | "code" | "block";
  /** Without the backticks around it. */
  readonly text: string;
}

// A block stands between two lines of three backticks or more, the first of which may name a language.
// A line in it that ends with them closes a block of the next kind.
const BLOCK =
  /(?<=\n|^)(?<fence>`{3,})[ \t]*(?:[\w+#.,-]+[ \t]*)?\r?\n(?<block>(?:(?!\k<fence>|[^\n`]*\k<fence>[ \t]*\r?\n)[^\n]*\n)+)\k<fence>[ \t]*(?:\r?\n|$)/u;

// Those who come from Slack write several lines of code that begin and end beside the backticks.
const LOOSE =
  /(?<![`\p{L}\p{N}])(?<open>`{3,})(?!`|\s*\k<open>)(?<loose>(?:(?!\k<open>)[^\n])*\n(?:(?!\k<open>)[\s\S])*)\k<open>(?![`\p{L}\p{N}])(?:[ \t]*\r?\n)?/u;

// Code in a line stands between as many backticks before it as after it, and not inside of words.
const INLINE =
  /(?<![`\p{L}\p{N}])(?<ticks>`+)(?!`)(?<code>[^\n]*?[^\n`])\k<ticks>(?![`\p{L}\p{N}])/u;

const CODE = new RegExp(`${BLOCK.source}|${LOOSE.source}|${INLINE.source}`, "gu");

/** Splits a message into what is code and what is not. What is not closed is no code. */
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
