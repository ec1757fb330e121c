/** The person who is logged in, and what they may do. */
export interface Me {
  readonly uid: string;
  /** The name to show. Hostile text like every other: show it as text, in `<bdi>`. */
  readonly name: string;
  /** May write in chat rooms. Without it: read only, say so before they type. */
  readonly mayWrite: boolean;
  /** May read and write admin rooms. */
  readonly isAdmin: boolean;
}
