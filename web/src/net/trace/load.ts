import type { Config } from "../config";
import { type Tracing, UNTRACED } from "./tracing";

/** Loads what traces, where the configuration wants that; most pages never load it. */
export async function loadTracing({ telemetry, websocket }: Config): Promise<Tracing> {
  if (!telemetry) return UNTRACED;
  try {
    const late = new Promise<null>((resolve) => setTimeout(resolve, LOAD_MS, null));
    const loaded = await Promise.race([import("./tracer"), late]);
    return loaded ? new loaded.Tracer(telemetry, new URL(websocket)) : UNTRACED;
  } catch {
    // Chatting goes on without traces.
    return UNTRACED;
  }
}

/** Nobody waits longer for it to log in. */
const LOAD_MS = 5_000;
