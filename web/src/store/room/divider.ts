import type { Position } from "../../model/place";

/** What has been unread for so long was not seen as it came. */
const UNSEEN_MS = 1_000;

/**
 * Where the "New messages" divider of the open room stands: after what was read when the room was
 * opened, or when its reader looked away. Messages that come while they look on move nothing.
 */
export class Divider {
  after: Position | null = null;
  private isNew = true;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly changed: () => void) {}

  /** The room is known: `unread` of it lie after `lastRead`. Called with each change. */
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

  /** Whoever writes has seen what there is. */
  remove() {
    this.after = null;
    this.stop();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
