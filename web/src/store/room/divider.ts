import type { Position } from "../../model/place";

/** A message that is unread for so long was not seen as it came. */
const UNSEEN_MS = 1_000;

/**
 * The position of the "New messages" divider in the open room: after the last message that was read
 * when the room was opened or the reader looked away. It does not move while they are reading.
 */
export class Divider {
  after: Position | null = null;
  private isNew = true;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly changed: () => void) {}

  /** Called with each change of a loaded room: `unread` messages are after `lastRead`. */
  look(unread: number, lastRead: () => Position | null) {
    if (this.isNew) {
      this.isNew = false;
      if (unread > 0) this.after = lastRead();
    } else if (unread === 0) {
      clearTimeout(this.timer);
      this.timer = undefined;
    } else {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.after = lastRead();
        this.changed();
      }, UNSEEN_MS);
    }
  }

  /** A person who writes has seen the messages above. */
  remove() {
    this.after = null;
    this.stop();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
