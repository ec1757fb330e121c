import { memo } from "react";
import { Boundary } from "../widgets/Boundary";
import { parts } from "./code";
import { pieces } from "./links";

/**
 * A message's text with its links and code. Whatever it contains is set as text; if parsing fails
 * it is shown as plain text.
 */
export const MessageText = memo(function MessageText({ text }: { text: string }) {
  return (
    <div className="text" dir="auto">
      <Boundary of={text} instead={text}>
        <Parts text={text} />
      </Boundary>
    </div>
  );
});

function Parts({ text }: { text: string }) {
  return parts(text).map(({ kind, text }, index) => {
    switch (kind) {
      case "said":
        return <Said key={index} text={text} />;
      case "code":
        return (
          <code key={index} dir="ltr">
            {text}
          </code>
        );
      default:
        return (
          <pre key={index} dir="ltr">
            <code>{text}</code>
          </pre>
        );
    }
  });
}

function Said({ text }: { text: string }) {
  return pieces(text).map((piece, index) =>
    piece.href ? (
      <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer">
        {piece.text}
      </a>
    ) : (
      piece.text
    ),
  );
}
