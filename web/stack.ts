import { readFileSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { setTimeout } from "node:timers/promises";
import type { Plugin, ProxyOptions, ServerOptions } from "vite";

/** The addresses of a running `chat dev`, from the file that it writes for other programs. */
export interface Stack {
  page: string;
  websocket: string;
}

/** The path at which Vite proxies a browser to NATS. */
const NATS = "/nats";

const LOOK_MS = 200;

/**
 * Waits for the stack whose addresses are in the file that CHAT_DEV names; undefined if Vite runs by
 * itself. `cargo xtask dev --watch` starts both.
 */
export async function findStack(): Promise<Stack | undefined> {
  const file = process.env["CHAT_DEV"];
  while (file) {
    // A file older than this process is left from a run that was killed.
    const written = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (written >= performance.timeOrigin) {
      return JSON.parse(readFileSync(file, "utf8"));
    }
    await setTimeout(LOOK_MS);
  }
  return undefined;
}

/**
 * Vite serves the sources, the stack everything else. nats-server accepts only the page's own
 * origin, which is not Vite's: so a browser connects through Vite, which sets that origin, for its
 * own pages only.
 */
export function through({ page, websocket }: Stack): ServerOptions {
  const nats: ProxyOptions = {
    target: websocket,
    ws: true,
    rewrite: () => "/",
    configure: (proxy) => {
      proxy.on("proxyReqWs", (request, from) => {
        if (from.headers.origin === origin(from)) {
          request.setHeader("origin", page);
        }
      });
    },
  };
  return { strictPort: true, proxy: { [NATS]: nats } };
}

/** The page's own configuration, but with Vite's address for NATS. */
export function configuration({ page }: Stack): Plugin {
  return {
    name: "configuration",
    configureServer: (server) => {
      server.middlewares.use("/config.json", async (request, response) => {
        const answer = await fetch(new URL("/config.json", page));
        const config: object = await answer.json();
        const websocket = `${origin(request).replace("http", "ws")}${NATS}`;
        response.setHeader("content-type", "application/json");
        response.setHeader("cache-control", "no-store");
        response.end(JSON.stringify({ ...config, websocket }));
      });
    },
  };
}

function origin(request: IncomingMessage): string {
  return `http://${request.headers.host}`;
}
