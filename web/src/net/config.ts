/** The page's configuration, from its server's `/config.json`. */
export interface Config {
  /** Where nats-server listens for browsers: `ws://` or `wss://`. */
  readonly websocket: string;
  /** The collector's address and the sampling ratio; null without telemetry. */
  readonly telemetry: { readonly endpoint: string; readonly ratio: number } | null;
  readonly login: Login;
}

/** How people log in. */
export interface Login {
  /** With the user name and password of a local user. */
  readonly local: boolean;
  /** At a provider of identities, by OpenID Connect. */
  readonly oidc: Provider | null;
}

/** A provider of identities. */
export interface Provider {
  /** Its URL, as in its tokens. */
  readonly issuer: string;
  /** The page's client id there. */
  readonly client: string;
  /** For the button. */
  readonly name: string;
}

/** How long the page's server may take to answer. */
const CONFIG_MS = 8_000;

/** Reads `/config.json`. Throws an error with a sentence for the person. */
export async function loadConfig(): Promise<Config> {
  const signal = AbortSignal.timeout(CONFIG_MS);
  const away = () => {
    throw new Error("The page's server does not answer");
  };
  const response = await fetch("/config.json", { cache: "no-store", signal }).catch(away);
  if (!response.ok) throw new Error(`The page's server answers ${response.status} to /config.json`);
  const said: Partial<Config> = await response.json().catch(away);
  if (typeof said.websocket !== "string" || !/^wss?:\/\//.test(said.websocket)) {
    throw new Error("The page's configuration names no WebSocket address (page.websocket)");
  }
  const login = { oidc: said.login?.oidc ?? null, local: said.login?.local ?? false };
  return { websocket: said.websocket, telemetry: said.telemetry ?? null, login };
}
