import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(html|js|css|svg|json|webmanifest|txt)$/;

/**
 * Lays each file's compressed forms beside it, as X.br and X.gz: the program that serves the page
 * has nothing to compress, so these can be as small as the best and slowest setting makes them.
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
      for (const entry of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
        const file = join(directory, entry);
        if (TEXT.test(file) && statSync(file).isFile()) {
          compressFile(file);
        }
      }
    },
  };
}

function compressFile(file: string): void {
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
    // A file of some bytes only grows.
    if (compressed.length < plain.length) {
      writeFileSync(file + suffix, compressed);
    }
  }
}
