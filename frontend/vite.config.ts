/** One script and one style sheet with fixed names, and beside them the hash of the sources they were made of. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { defineConfig, type Plugin } from "vite";

const OUT = "../src/voigt/viewer/static";
/** What decides the bundle; tests/viewer/test_bundle.py hashes the same files in the same way. */
const SOURCES = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );
}

function digest(root: string): string {
  const names = [...SOURCES, ...files(join(root, "src")).map((path) => relative(root, path).split(sep).join("/"))].sort();
  const hash = createHash("sha256");
  for (const name of names) {
    hash.update(`${name}\0`);
    hash.update(createHash("sha256").update(readFileSync(join(root, name))).digest("hex"));
    hash.update("\n");
  }
  return hash.digest("hex");
}

const stamp: Plugin = {
  name: "stamp",
  closeBundle() {
    writeFileSync(join(import.meta.dirname, OUT, "sources.sha256"), `${digest(import.meta.dirname)}\n`);
  },
};

export default defineConfig({
  base: "./",
  plugins: [stamp],
  build: {
    target: "es2022",
    outDir: OUT,
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { entryFileNames: "voigt.js", assetFileNames: "voigt[extname]" },
    },
  },
});
