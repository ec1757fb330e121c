import type { Token } from "../dial";

/** A sign-in in progress: what the provider's answer is checked against. */
export interface Pending {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** What a provider gives a person who has signed in. It is kept in memory only. */
export interface Tokens extends Token {
  readonly uid: string;
  /** Gets the next tokens; null if the provider gives none. */
  readonly refresh: string | null;
  /** Proves to the provider who signs out. */
  readonly id: string;
}

/** Signs people in at a provider. Every method throws a `NoConnection`. */
export interface Issuer {
  /** Where the browser is to go. `isSilent`: without asking the person anything. */
  begin(isSilent: boolean): Promise<{ to: URL; pending: Pending }>;
  /** The tokens for the address that the browser came back to. */
  finish(answer: URL, pending: Pending): Promise<Tokens>;
  renew(tokens: Tokens): Promise<Tokens>;
  /** Where the browser is to go to sign out; null if the provider has no such address. */
  end(tokens: Tokens | null): Promise<URL | null>;
}
