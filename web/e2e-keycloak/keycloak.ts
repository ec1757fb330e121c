import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";

/** The first start compiles Keycloak's configuration, and each first one creates a database. */
const START_MS = 300_000;
const LOOK_MS = 200;

const REALM = join(import.meta.dirname, "../../keycloak/chat-realm.json");
const ADMIN = { username: "admin", password: "admin" };

/** Administers a Keycloak with chat's realm. */
export class Realm {
  /** `url`: the realm's, which is the issuer of its tokens. */
  constructor(readonly realm: string) {}

  /** How long access tokens live, in seconds. */
  async setTokenLife(seconds: number): Promise<void> {
    await this.ask("PUT", "", { accessTokenLifespan: seconds });
  }

  /** A new account, which no other test signs in with or changes. Its password is its name and 123. */
  async invite(user: string): Promise<void> {
    await this.ask("POST", "/users", {
      username: user,
      firstName: user,
      lastName: "Guest",
      email: `${user}@example.com`,
      enabled: true,
      credentials: [{ type: "password", value: `${user}123` }],
    });
  }

  async grant(user: string, role: string): Promise<void> {
    await this.ask("POST", await this.roles(user), [await this.ask("GET", `/roles/${role}`)]);
  }

  async revoke(user: string, role: string): Promise<void> {
    await this.ask("DELETE", await this.roles(user), [await this.ask("GET", `/roles/${role}`)]);
  }

  async setEnabled(user: string, enabled: boolean): Promise<void> {
    await this.ask("PUT", `/users/${await this.id(user)}`, { enabled });
  }

  /** From now on Keycloak signs with a new key. */
  async rotateKeys(): Promise<void> {
    const { id } = await this.ask<{ id: string }>("GET", "");
    await this.ask("POST", "/components", {
      name: `key-${Date.now()}`,
      parentId: id,
      providerId: "rsa-generated",
      providerType: "org.keycloak.keys.KeyProvider",
      config: { priority: [String(Math.floor(Date.now() / 1000))] },
    });
  }

  private async roles(user: string): Promise<string> {
    return `/users/${await this.id(user)}/role-mappings/realm`;
  }

  private async id(user: string): Promise<string> {
    const found = await this.ask<{ id: string }[]>("GET", `/users?username=${user}&exact=true`);
    return found[0]?.id ?? "";
  }

  private async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const token = await fetch(this.realm.replace(/chat$/, "master/protocol/openid-connect/token"), {
      method: "POST",
      body: new URLSearchParams({ grant_type: "password", client_id: "admin-cli", ...ADMIN }),
    });
    const { access_token } = (await token.json()) as { access_token: string };
    const response = await fetch(this.realm.replace("/realms/", "/admin/realms/") + path, {
      method,
      headers: { authorization: `Bearer ${access_token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const said = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${said}`);
    return (said === "" ? undefined : JSON.parse(said)) as T;
  }
}

/** A Keycloak process in a directory of its own. KEYCLOAK names the program. */
export class Keycloak extends Realm {
  private constructor(
    private readonly home: string,
    private readonly port: number,
    private child: ChildProcess,
  ) {
    super(`http://localhost:${port}/realms/chat`);
  }

  static async start(): Promise<Keycloak> {
    const home = mkdtempSync(join(tmpdir(), "chat-keycloak-"));
    const program = realpathSync(named());
    for (const part of ["conf", "lib", "providers", "themes"]) {
      symlinkSync(join(dirname(dirname(program)), part), join(home, part));
    }
    mkdirSync(join(home, "data/import"), { recursive: true });
    copyFileSync(REALM, join(home, "data/import/chat-realm.json"));
    const port = await freePort();
    const keycloak = new Keycloak(home, port, run(home, port));
    await keycloak.ready();
    return keycloak;
  }

  /** Makes it hang until the returned function is called. */
  freeze(): () => void {
    this.signal("SIGSTOP");
    return () => this.signal("SIGCONT");
  }

  async kill(): Promise<void> {
    const gone = once(this.child, "exit");
    this.signal("SIGKILL");
    await gone;
  }

  async restart(): Promise<void> {
    this.child = run(this.home, this.port);
    await this.ready();
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    rmSync(this.home, { recursive: true, force: true });
  }

  private async ready(): Promise<void> {
    const end = Date.now() + START_MS;
    while (!(await fetch(this.realm).catch(() => null))?.ok) {
      if (this.child.exitCode !== null || Date.now() > end) {
        throw new Error("Keycloak does not start; E2E_LOG=1 shows what it says");
      }
      await setTimeout(LOOK_MS);
    }
  }

  /** To Keycloak and the script that runs it. */
  private signal(name: NodeJS.Signals): void {
    if (this.child.pid) process.kill(-this.child.pid, name);
  }
}

function named(): string {
  const program = process.env["KEYCLOAK"];
  if (program) return program;
  throw new Error("KEYCLOAK must name Keycloak's kc.sh; `cargo xtask test keycloak` does that.");
}

function run(home: string, port: number): ChildProcess {
  const started = ["start-dev", "--import-realm", "--http-host=127.0.0.1", `--http-port=${port}`];
  return spawn(
    "setpriv",
    // It ends with this process, even if that is killed.
    ["--pdeathsig", "TERM", "--", named(), `-Dkc.home.dir=${home}`, ...started],
    {
      env: {
        ...process.env,
        KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN.username,
        KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN.password,
      },
      stdio: process.env["E2E_LOG"] ? "inherit" : "ignore",
      detached: true,
    },
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address ? address.port : 0;
}
