import { memo } from "react";
import { pieces } from "../links";

/** A message's text with its links. The text reaches the page as text only, whatever it holds. */
export const MessageText = memo(function MessageText({ text }: { text: string }) {
  return (
    <div className="text" dir="auto">
      {pieces(text).map((piece, index) =>
        piece.href ? (
          <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer">
            {piece.text}
          </a>
        ) : (
          piece.text
        ),
      )}
    </div>
  );
});
