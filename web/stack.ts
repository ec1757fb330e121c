import type { IncomingMessage } from "node:http";
import type { Plugin, ProxyOptions, ServerOptions } from "vite";

/** Where the stack runs that `cargo xtask dev --watch` has started. */
export interface Stack {
  page: string;
  websocket: string;
}

/** The path at which Vite passes a browser on to NATS. */
const NATS = "/nats";

/** The running stack, as xtask says in the environment; none where Vite runs by itself. */
export function findStack(): Stack | undefined {
  const { CHAT_PAGE: page, CHAT_WEBSOCKET: websocket } = process.env;
  return page && websocket ? { page, websocket } : undefined;
}

/**
 * Vite serves the sources, the stack everything else. nats-server lets in the page's own origin
 * only, which is not Vite's: so a browser goes through Vite, which says that it is the page, for
 * pages of its own and for nobody else.
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
  return { strictPort: true, proxy: { "/health": page, [NATS]: nats } };
}

/** The page's own configuration, but with the way to NATS that leads through Vite. */
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
