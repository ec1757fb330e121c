import { execFile } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";

const GUARD_MS = 240_000;
const LOOK_MS = 200;

const run = promisify(execFile);

/** Runs Docker's command line; its environment names the engine. Returns what it prints. */
export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run("docker", args, { timeout: GUARD_MS, maxBuffer: 1 << 26 });
  return stdout.trim();
}

/** Runs Compose; its environment names the project and the files. */
export function compose(...args: string[]): Promise<string> {
  return docker("compose", ...args);
}

/** Brings up what is not there, by the images that there are, and waits until all of it is healthy. */
export function up(...options: string[]): Promise<string> {
  return compose("up", "--detach", "--wait", "--no-build", "--pull", "never", ...options);
}

/** The ids of the containers that run: of these services, or all. */
export async function containers(...services: string[]): Promise<string[]> {
  const ids = await compose("ps", "--quiet", ...services);
  return ids.split("\n").filter((id) => id !== "");
}

/** The id of the one container of a service. */
export async function container(service: string): Promise<string> {
  const [id] = await containers(service);
  if (id === undefined) throw new Error(`${service} has no container`);
  return id;
}

export async function inspect(id: string, format: string): Promise<string> {
  return await docker("inspect", "--format", format, id);
}

/** Asks the database. */
export function sql(query: string): Promise<string> {
  const psql = ["psql", "--username", "chat", "--no-align", "--tuples-only", "--command", query];
  return compose("exec", "--no-TTY", "postgres", ...psql);
}

/** Kills a service's process, as a crash does, and waits until the engine has started it again. */
export async function crash(service: string): Promise<void> {
  const id = await container(service);
  const pid = await inspect(id, "{{.State.Pid}}");
  try {
    process.kill(Number(pid), "SIGKILL");
  } catch {
    // It runs in a virtual machine, or is another user's. The engine takes this for a wish to end it.
    await docker("kill", id);
    await docker("start", id);
  }
  await until(async () => (await inspect(id, "{{.State.Pid}}")) !== pid);
  await healthy(id);
}

/** Waits until a container is healthy, or runs if nothing checks its health. */
export async function healthy(id: string): Promise<void> {
  const state = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}";
  await until(async () => ["healthy", "running"].includes(await inspect(id, state)));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + GUARD_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error("it does not come back");
    await setTimeout(LOOK_MS);
  }
}
