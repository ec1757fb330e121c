import type { Config } from "../config";
import { type Tracing, UNTRACED } from "./tracing";

/** Loads the tracer if the configuration asks for it; most pages never load it. */
export async function loadTracing({ telemetry, websocket }: Config): Promise<Tracing> {
  if (!telemetry) return UNTRACED;
  try {
    const late = new Promise<null>((resolve) => setTimeout(resolve, LOAD_MS, null));
    const loaded = await Promise.race([import("./tracer"), late]);
    return loaded ? new loaded.Tracer(telemetry, new URL(websocket)) : UNTRACED;
  } catch {
    // Without the tracer the page works untraced.
    return UNTRACED;
  }
}

/** Logging in waits no longer than this for the tracer. */
const LOAD_MS = 5_000;
