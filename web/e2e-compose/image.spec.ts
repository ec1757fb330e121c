import { compose, container, docker, inspect } from "./docker";
import { expect, test } from "./test";

const IMAGE = "chat:0.1.0";
const OURS = ["auth", "send", "persist", "history", "page"];

/** Of other images; all but Keycloak's work with a root that nobody can write. */
const THEIRS = ["nats", "postgres", "keycloak", "collector", "jaeger"];

test("chat's image holds one program, and runs as nobody", async () => {
  expect(await inspect(IMAGE, "{{.Config.User}}")).toBe("10001:10001");
  const version = await docker("run", "--rm", "--network", "none", IMAGE, "--version");
  const label = '{{index .Config.Labels "org.opencontainers.image.version"}}';
  expect(version).toBe(`chat ${await inspect(IMAGE, label)}`);
  const layers = await docker("history", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE);
  const size = Number(await inspect(IMAGE, "{{.Size}}")) / 1e6;
  console.log(`chat's image: ${size.toFixed(0)} MB\n${layers}`);
});

test("no secret is in the image, or in what the engine tells of a container", async () => {
  const secrets = await allSecrets();
  expect(secrets.length).toBeGreaterThan(15);
  const told = [await docker("history", "--no-trunc", IMAGE), await docker("inspect", IMAGE)];
  for (const service of [...OURS, ...THEIRS]) {
    told.push(await docker("inspect", await container(service)));
    told.push(await compose("logs", "--no-log-prefix", service));
  }
  for (const secret of secrets) expect(told.join("\n").includes(secret)).toBe(false);
  // A container sees its own secrets.
  expect(await compose("exec", "--no-TTY", "send", "ls", "/keys")).toBe("chat.toml");
});

test("every container is without root and rights, and ours cannot write", async () => {
  for (const service of [...OURS, ...THEIRS]) {
    const id = await container(service);
    // The collector's image holds nothing but the collector.
    if (service !== "collector") {
      const status = await compose("exec", "--no-TTY", service, "cat", "/proc/1/status");
      expect(status, service).not.toMatch(/^Uid:\t0/m);
      expect(status, service).toMatch(/^CapEff:\t0+$/m);
      expect(status, service).toMatch(/^NoNewPrivs:\t1$/m);
    }
    const isReadOnly = await inspect(id, "{{.HostConfig.ReadonlyRootfs}}");
    expect(isReadOnly, service).toBe(String(service !== "keycloak"));
    expect(Number(await inspect(id, "{{.HostConfig.Memory}}")), service).toBeGreaterThan(0);
  }
});

/** Every secret of the deployment, from the volume that holds them. */
async function allSecrets(): Promise<string[]> {
  const read = ["run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "cat", "keys"];
  return Object.values(JSON.parse(await compose(...read, "/keys/secrets.json")));
}
