/** The person who is logged in, and what they may do. */
export interface Me {
  readonly uid: string;
  /** The display name. Untrusted text: show it as text, in `<bdi>`. */
  readonly name: string;
  /** May write in chat rooms. If not, the page says so before they type. */
  readonly mayWrite: boolean;
  /** May read and write admin rooms. */
  readonly isAdmin: boolean;
}
