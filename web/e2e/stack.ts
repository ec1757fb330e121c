import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";

/** A request waits longer than chat does: the client library itself gives up after a second. */
export const PATIENT = { timeout: 60_000 };

/** What `chat dev` writes when it is ready. */
interface Addresses {
  readonly page: string;
  readonly nats: string;
  readonly backend: Login;
  readonly operator: Login;
  readonly users: Record<string, Login>;
}

interface Login {
  readonly password: string;
  readonly inbox_prefix: string;
}

const START_MS = 30_000;

/**
 * A real stack: `chat dev` with its nats-server, functions, database and page, in a directory of its
 * own. CHAT_BIN names the program.
 */
export class Stack {
  private joined: ChildProcess[] = [];

  private constructor(
    private readonly directory: string,
    private readonly dev: ChildProcess,
    readonly addresses: Addresses,
  ) {}

  /** `without`: functions that are left out, to be run by `serve`. */
  static async start(without: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Stack> {
    const directory = mkdtempSync(join(tmpdir(), "chat-e2e-"));
    const left = without.flatMap((name) => ["--without", name]);
    const dev = run(["dev", "--data", directory, "--port", "0", ...left], env);
    await untilExists(directory, "dev.json", dev);
    const text = readFileSync(join(directory, "dev.json"), "utf8");
    return new Stack(directory, dev, JSON.parse(text) as Addresses);
  }

  get page(): string {
    return this.addresses.page;
  }

  /** Runs functions that `start` left out, in a process of their own. */
  serve(...functions: string[]): ChildProcess {
    const child = run([...this.configured(), "serve", ...functions], {});
    this.joined.push(child);
    return child;
  }

  /**
   * Stops nats-server until the returned function is called. `chat dev` would restart it at once, so
   * that process is stopped meanwhile.
   */
  stopServer(): () => void {
    this.dev.kill("SIGSTOP");
    process.kill(this.serverPid(), "SIGKILL");
    return () => this.dev.kill("SIGCONT");
  }

  /** Makes nats-server hang, like a network that drops everything, until the returned function is called. */
  freezeServer(): () => void {
    const pid = this.serverPid();
    process.kill(pid, "SIGSTOP");
    return () => process.kill(pid, "SIGCONT");
  }

  /** Changes the roles of a local user; they have them from their next connection on. */
  setRoles(user: string, roles: readonly ("admin" | "user")[]): void {
    const file = join(this.directory, "users.json");
    const users = JSON.parse(readFileSync(file, "utf8")) as Record<string, object>;
    users[user] = { ...users[user], roles };
    writeFileSync(`${file}.new`, JSON.stringify(users), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  /** Creates missing streams and consumers, as an operator does. */
  async setUp(): Promise<void> {
    const [code] = await once(run([...this.configured(), "setup"], {}), "exit");
    if (code !== 0) throw new Error(`chat setup ended with ${code}; E2E_LOG=1 shows what it says`);
  }

  /** A connection of one of chat's users, of the trusted back end, or of the operator. */
  connect(user: string): Promise<NatsConnection> {
    const { nats, backend, operator, users } = this.addresses;
    const found = { backend, operator }[user] ?? users[user];
    if (!found) throw new Error(`${user} is no user of the stack`);
    return connect({
      servers: nats,
      user,
      pass: found.password,
      inboxPrefix: found.inbox_prefix,
    });
  }

  /** Ends a process of the stack as an operator does. */
  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    await gone;
  }

  async stop(): Promise<void> {
    for (const child of [...this.joined, this.dev]) await this.end(child);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private configured(): readonly string[] {
    return ["--config", join(this.directory, "chat.toml")];
  }

  private serverPid(): number {
    return Number(readFileSync(join(this.directory, "nats-server.pid"), "utf8"));
  }
}

function run(args: readonly string[], changes: NodeJS.ProcessEnv): ChildProcess {
  // The program reads every CHAT_... variable as configuration, and refuses unknown ones.
  const { CHAT_BIN: program, ...env } = process.env;
  if (!program) {
    throw new Error("CHAT_BIN must name the program `chat`; `cargo xtask test browser` does that.");
  }
  const stdio = env["E2E_LOG"] ? "inherit" : "ignore";
  return spawn(program, args, { env: { ...env, ...changes }, stdio });
}

/** Waits for a file, without polling. */
function untilExists(directory: string, name: string, writer: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(directory);
    const end = (error?: Error) => {
      watcher.close();
      clearTimeout(timer);
      writer.off("exit", failed);
      if (error) reject(error);
      else resolve();
    };
    const failed = (code: number | null) =>
      end(new Error(`chat ended with ${code} before it was ready; E2E_LOG=1 shows what it says`));
    const look = () => {
      if (existsSync(join(directory, name))) end();
    };
    const late = () => end(new Error(`chat was not ready after ${START_MS} ms`));
    const timer = setTimeout(late, START_MS);
    writer.once("exit", failed);
    watcher.on("change", look);
    look();
  });
}
