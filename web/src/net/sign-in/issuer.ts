import {
  AuthorizationResponseError,
  type AuthorizationServer,
  allowInsecureRequests,
  authorizationCodeGrantRequest,
  type Client,
  calculatePKCECodeChallenge,
  clockTolerance,
  discoveryRequest,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  getValidatedIdTokenClaims,
  JWT_TIMESTAMP_CHECK,
  None,
  OperationProcessingError,
  processAuthorizationCodeResponse,
  processDiscoveryResponse,
  processRefreshTokenResponse,
  ResponseBodyError,
  refreshTokenGrantRequest,
  type TokenEndpointResponse,
  validateAuthResponse,
} from "oauth4webapi";
import type { Provider } from "../config";
import { NoConnection, sentence, signInAway } from "../failure";
import type { Issuer, Pending, Tokens } from "./tokens";
import { uidOf } from "./uid";

/** A provider of OpenID Connect: Authorization Code with PKCE, `state` and `nonce`. */
export class OidcIssuer implements Issuer {
  private readonly client: Client;
  private found: AuthorizationServer | null = null;

  constructor(
    private readonly provider: Provider,
    /** Where the provider sends the browser back to. */
    private readonly redirect: string,
  ) {
    this.client = { client_id: provider.client, [clockTolerance]: CLOCK_TOLERANCE_S };
  }

  begin(isSilent: boolean) {
    return this.said(async () => {
      // Asked anew each time: a browser that goes to a provider that is away shows its own error page.
      const { authorization_endpoint: to } = await this.discover();
      if (!to) throw this.wrong("it names no authorization_endpoint");
      const pending = {
        state: generateRandomState(),
        nonce: generateRandomNonce(),
        verifier: generateRandomCodeVerifier(),
      };
      const asked = {
        response_type: "code",
        client_id: this.provider.client,
        redirect_uri: this.redirect,
        scope: "openid profile",
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: await calculatePKCECodeChallenge(pending.verifier),
        code_challenge_method: "S256",
        ...(isSilent ? { prompt: "none" } : {}),
      };
      return { to: this.withQuery(to, asked), pending };
    });
  }

  finish(answer: URL, { state, nonce, verifier }: Pending) {
    return this.said(async () => {
      const server = await this.server();
      const valid = validateAuthResponse(server, this.client, answer, state);
      const began = Date.now();
      const response = await authorizationCodeGrantRequest(
        server,
        this.client,
        None(),
        valid,
        this.redirect,
        verifier,
        this.options(),
      );
      const checked = { expectedNonce: nonce, requireIdToken: true };
      const said = await processAuthorizationCodeResponse(server, this.client, response, checked);
      const uid = await uidOf(getValidatedIdTokenClaims(said)?.sub ?? "");
      return tokens(said, began, { uid, id: "", refresh: null });
    });
  }

  renew(before: Tokens) {
    return this.said(async () => {
      const server = await this.server();
      const began = Date.now();
      const { refresh } = before;
      const ask = refreshTokenGrantRequest;
      const response = await ask(server, this.client, None(), refresh ?? "", this.options());
      const said = await processRefreshTokenResponse(server, this.client, response);
      return tokens(said, began, before);
    });
  }

  end(held: Tokens | null) {
    return this.said(async () => {
      const { end_session_endpoint: to } = await this.discover();
      const asked = {
        client_id: this.provider.client,
        post_logout_redirect_uri: this.redirect,
        ...(held ? { id_token_hint: held.id } : {}),
      };
      return to ? this.withQuery(to, asked) : null;
    });
  }

  private async server(): Promise<AuthorizationServer> {
    return this.found ?? (await this.discover());
  }

  private async discover(): Promise<AuthorizationServer> {
    const issuer = new URL(this.provider.issuer);
    const response = await discoveryRequest(issuer, this.options());
    this.found = await processDiscoveryResponse(issuer, response);
    return this.found;
  }

  private options() {
    return { signal: AbortSignal.timeout(ANSWER_MS), [allowInsecureRequests]: this.isInsecure };
  }

  /** In development, on one machine. */
  private get isInsecure(): boolean {
    return this.provider.issuer.startsWith("http:");
  }

  /** An address for the browser to go to: the provider names it, and it may be no script. */
  private withQuery(to: string, asked: Record<string, string>): URL {
    const url = parsed(to);
    const isSafe = url?.protocol === "https:" || (this.isInsecure && url?.protocol === "http:");
    if (!url || !isSafe) throw this.wrong(`it sends the browser to ${to}`);
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    return url;
  }

  private wrong(what: string): NoConnection {
    const { name } = this.provider;
    return new NoConnection("refused", `The configuration of ${name} is not valid: ${what}.`);
  }

  /** Says what went wrong, for the person. */
  private async said<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw failure(error, this.provider.name);
    }
  }
}

/** How long the provider may take to answer. */
const ANSWER_MS = 10_000;

/** How far this machine's clock may be off the provider's. */
const CLOCK_TOLERANCE_S = 60;

/** How long a token is used whose end the provider does not say. */
const UNKNOWN_LIFE_S = 60;

function tokens(
  said: TokenEndpointResponse,
  began: number,
  before: Pick<Tokens, "uid" | "id" | "refresh">,
): Tokens {
  return {
    uid: before.uid,
    token: said.access_token,
    // Counted from here, since this machine's clock may be off.
    expires: began + (said.expires_in ?? UNKNOWN_LIFE_S) * 1_000,
    refresh: said.refresh_token ?? before.refresh,
    id: said.id_token ?? before.id,
  };
}

function parsed(address: string): URL | null {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

/** With `prompt=none`, a provider that has to ask something answers one of these. */
const MUST_ASK = /^(login|interaction|consent|account_selection)_required$/;

/** Errors of a provider that may be over soon. */
const PASSING = /^(temporarily_unavailable|server_error)$/;

function failure(error: unknown, name: string): NoConnection {
  if (error instanceof NoConnection) return error;
  const ended = new NoConnection(
    "session-ended",
    `Your sign-in at ${name} has ended. Sign in again.`,
  );
  if (error instanceof AuthorizationResponseError || error instanceof ResponseBodyError) {
    const isLate = error instanceof ResponseBodyError && isPassing(error.status);
    if (isLate || PASSING.test(error.error)) return signInAway();
    if (MUST_ASK.test(error.error) || error.error === "invalid_grant") return ended;
    const said = error.error_description ?? error.error;
    return new NoConnection("refused", `${name} refuses the sign-in: ${said}`);
  }
  if (error instanceof OperationProcessingError) {
    if (error.cause instanceof Response && isPassing(error.cause.status)) return signInAway();
    const what =
      error.code === JWT_TIMESTAMP_CHECK
        ? `The clock of this machine and that of ${name} differ by too much.`
        : `The answer of ${name} is not valid: ${sentence(error)}.`;
    return new NoConnection("refused", `${what} Sign in again.`);
  }
  // The request failed, or took too long.
  return signInAway();
}

function isPassing(status: number): boolean {
  return status >= 500 || status === 429;
}
