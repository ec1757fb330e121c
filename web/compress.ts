import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(html|js|css|svg|json|webmanifest|txt)$/;

const WEIGHS = /\.(js|css)$/;

/** The limit on the compressed script and style that every browser loads, in bytes. */
const LIMIT = 150_000;

/** The limit on what only some load in addition: for traces, for signing in at a provider. */
const EXTRA_LIMIT = 10_000;

/**
 * Writes compressed forms of each file beside it, as X.br and X.gz, at the best and slowest setting:
 * the program that serves the page does not compress. Fails the build if the page is too large.
 */
export function compress(): Plugin {
  let directory = "";
  return {
    name: "compress",
    apply: "build",
    configResolved: (config) => {
      directory = join(config.root, config.build.outDir);
    },
    closeBundle: () => {
      const index = readFileSync(join(directory, "index.html"), "utf8");
      let [weight, extra] = [0, 0];
      for (const entry of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
        const file = join(directory, entry);
        if (TEXT.test(file) && statSync(file).isFile()) {
          const sent = compressFile(file);
          if (!WEIGHS.test(file)) continue;
          if (index.includes(basename(file))) weight += sent;
          else extra += sent;
        }
      }
      const told = `${kB(weight)} of script and style (Brotli), and ${kB(extra)} that it loads if configured`;
      if (weight > LIMIT || extra > EXTRA_LIMIT) {
        const limits = `${kB(LIMIT)} and ${kB(EXTRA_LIMIT)}`;
        throw new Error(`The page weighs ${told}; its limits are ${limits}: see README.md.`);
      }
      console.info(`The page weighs ${told}.`);
    },
  };
}

function kB(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}

/** Its compressed size in bytes. */
function compressFile(file: string): number {
  const plain = readFileSync(file);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
  };
  const forms = [
    [".br", brotliCompressSync(plain, { params })],
    [".gz", gzipSync(plain, { level: 9 })],
  ] as const;
  for (const [suffix, compressed] of forms) {
    // A very small file would only grow.
    if (compressed.length < plain.length) {
      writeFileSync(file + suffix, compressed);
    }
  }
  return Math.min(plain.length, forms[0][1].length);
}
