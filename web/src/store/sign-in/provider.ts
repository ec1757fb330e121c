import type { Provider } from "../../net/config";
import type { Connection } from "../../net/connection";
import type { Credentials } from "../../net/dial";
import { NoConnection, signInAway } from "../../net/failure";
import { pause } from "../../net/link";
import { loadIssuer } from "../../net/sign-in/load";
import type { Issuer, Pending, Tokens } from "../../net/sign-in/tokens";
import type { Session } from "../storage/session";
import type { SignIn } from "./sign-in";

/** What a provider sent the browser back with. */
export interface Answer {
  readonly url: URL;
  readonly pending: Pending;
}

/** Takes a provider's answer out of the page's address, which becomes the one that the person left. */
export function takeAnswer(stored: Session): Answer | null {
  const url = new URL(location.href);
  const { searchParams: said } = url;
  if (!said.has("state") || !(said.has("code") || said.has("error"))) return null;
  const pending = stored.back();
  const left = new URL(url);
  left.search = "";
  left.hash = pending?.hash ?? "";
  // The whole address: by itself, a path such as `//x` would be another site's.
  history.replaceState(null, "", left.href);
  return pending && { url, pending };
}

/** A sign-in at this provider. `mayAsk`: the provider may ask the person something. */
export function signInAt(
  provider: Provider,
  stored: Session,
  mayAsk: boolean,
  answer: Answer | null = null,
): SignIn {
  const load = () => loadIssuer(provider, `${location.origin}/`);
  return new ProviderSignIn(load, stored, (to) => location.assign(to), mayAsk, answer);
}

/** A person of a provider. Without tokens the browser goes there, and this page begins anew. */
export class ProviderSignIn implements SignIn {
  private tokens: Tokens | null = null;
  /** When they came. */
  private since = 0;
  /** What fetches the next ones. An attempt that does not wait for its end leaves it to the next attempt. */
  private work: Promise<Tokens> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isOver = false;

  constructor(
    private readonly load: () => Promise<Issuer>,
    private readonly stored: Session,
    /** Sends the browser to another page. */
    private readonly go: (to: URL) => void,
    private mayAsk: boolean,
    private answer: Answer | null = null,
  ) {}

  async credentials(): Promise<Credentials> {
    const isValid = this.tokens !== null && Date.now() < this.tokens.expires;
    const { uid, token, expires } =
      this.tokens && isValid ? this.tokens : await inTime(this.next());
    return { kind: "token", uid, token, expires };
  }

  renew() {
    if (!this.tokens || Date.now() - this.since < FRESH_MS) return false;
    this.tokens = { ...this.tokens, expires: 0 };
    return true;
  }

  up({ me }: Connection) {
    this.stored.remember({ me, token: null });
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  async end() {
    const issuer = await this.load();
    const to = await inTime(issuer.end(this.tokens));
    if (to) await this.leave(to);
  }

  /** Here the page ends, unless the provider went away in between. */
  private async leave(to: URL): Promise<never> {
    this.go(to);
    await new Promise((resolve) => setTimeout(resolve, LEAVING_MS));
    throw new NoConnection("sign-in-away", "The sign-in service does not answer.");
  }

  private next(): Promise<Tokens> {
    this.work ??= this.fetch()
      .then((tokens) => this.keep(tokens))
      .finally(() => {
        this.work = null;
      });
    return this.work;
  }

  private async fetch(): Promise<Tokens> {
    const issuer = await this.load();
    const { answer, tokens } = this;
    if (answer) {
      // Its code is good for one attempt; after that the provider knows the person already.
      this.answer = null;
      this.mayAsk = false;
      return issuer.finish(answer.url, answer.pending);
    }
    if (tokens?.refresh) return issuer.renew(tokens);
    if (!this.stored.outlives) throw new NoConnection("refused", KEEPS_NOTHING);
    const { to, pending } = await issuer.begin(!this.mayAsk);
    if (this.isOver) throw signInAway();
    this.stored.leave({ ...pending, hash: location.hash });
    return this.leave(to);
  }

  private keep(tokens: Tokens): Tokens {
    this.tokens = tokens;
    this.since = Date.now();
    const life = tokens.expires - this.since;
    if (tokens.refresh) this.renewIn(life - Math.min(EARLY_MS, life / 4), 0);
    return tokens;
  }

  /** Renews before the end, so that the connection after it need not wait. */
  private renewIn(ms: number, failures: number) {
    clearTimeout(this.timer);
    if (this.isOver) return;
    const wait = Math.min(ms, LONGEST_MS);
    this.timer = setTimeout(() => {
      this.next().catch((error) => {
        // Anything else ends the session, which the next connection will say.
        const isPassing = error instanceof NoConnection && error.kind === "sign-in-away";
        if (isPassing) this.renewIn(pause(failures), failures + 1);
      });
    }, wait);
  }
}

/** A person is told within 3 s that nobody answers. The work goes on. */
function inTime<T>(work: Promise<T>): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(signInAway()), NOTICE_MS);
  });
  return Promise.race([work, late]);
}

const NOTICE_MS = 2_500;

const KEEPS_NOTHING =
  "This browser keeps nothing for this page, so it cannot sign in elsewhere. Allow it to keep cookies and site data.";

/** How long the browser may take to leave the page. */
const LEAVING_MS = 20_000;

/** How long before their end tokens are renewed, if they live so long. */
const EARLY_MS = 60_000;

/** A timer's longest wait, 24 days: a longer one would end at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Tokens that are refused so soon after they came are not renewed. */
const FRESH_MS = 5_000;
