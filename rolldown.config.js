import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "rolldown";

/**
 * The commands with what they use, in few files: `flixwrap patchelf` is called once per file and has to start at once.
 * CommonJS, because Node's loader of ES modules and its view of `node:fs` take 5 ms of a start that is 45.
 */
export default defineConfig({
  input: "src/cli/main.ts",
  platform: "node",
  // Has native add-ons, and is loaded only when a daemon is really used.
  external: ["dockerode"],
  output: {
    dir: "dist/program",
    cleanDir: true,
    format: "cjs",
    entryFileNames: "[name].cjs",
    chunkFileNames: "[name]-[hash].cjs",
    // All that patchelf needs is one file.
    codeSplitting: { groups: [{ name: "patchelf", test: /src.cli.patchelf.run/ }] },
  },
  plugins: [{ name: "licences", generateBundle: emitLicences }],
});

/** The licences of the packages whose code is in the files. */
function emitLicences(_options, bundle) {
  const modules = Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? []);
  const folders = modules.map((id) => /^.*[/]node_modules[/](?:@[^/]+[/])?[^/]+/.exec(id)?.[0]);
  const texts = [...new Set(folders.filter(Boolean))].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = readdirSync(folder).filter((file) => /^licen[cs]e/i.test(file));
    return [`${name} ${version} (${license})`, ...files.map((file) => readFileSync(join(folder, file), "utf8"))];
  });
  this.emitFile({ type: "asset", fileName: "LICENCES", source: texts.flat().join("\n\n") });
}
