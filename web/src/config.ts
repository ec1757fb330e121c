/** What the page must know to begin; its server says it in `/config.json`. */
export interface Config {
  /** Where nats-server listens for browsers: `ws://` or `wss://`. */
  readonly websocket: string;
  /** The collector's address and the share of traces that it gets; null for none. */
  readonly telemetry: { readonly endpoint: string; readonly ratio: number } | null;
}

/** Reads `/config.json`. Throws a sentence for the person where there is none. */
export async function loadConfig(): Promise<Config> {
  const response = await fetch("/config.json", { cache: "no-store" }).catch(() => {
    throw new Error("The page's server does not answer. Load the page again in a moment");
  });
  if (!response.ok) throw new Error(`The page's server answers ${response.status} to /config.json`);
  const said = (await response.json()) as Partial<Config>;
  if (typeof said.websocket !== "string" || !/^wss?:\/\//.test(said.websocket)) {
    throw new Error("The page's configuration names no WebSocket address (page.websocket)");
  }
  return { websocket: said.websocket, telemetry: said.telemetry ?? null };
}
