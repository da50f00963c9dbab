import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { scratch, sh } from "../support/program.ts";

/** What `npm pack` would publish, unpacked in an empty folder: complete without the packages of npm. */
const folder = scratch();
const root = new URL("../..", import.meta.url).pathname;

sh(`npm pack --silent --ignore-scripts --pack-destination ${folder} ${root}`, { cwd: folder });
sh("tar -xzf flixwrap-*.tgz", { cwd: folder });
const main = join(folder, "package/dist/program/main.cjs");

it("has the commands, called by any of their names, and the files that they look for", () => {
  const version = /"version": "(.*)"/.exec(sh(`cat ${root}/package.json`))![1]!;
  expect(sh(`${main} --version`)).toBe(`${version}\n`);
  expect(sh(`${main} patchelf --print-interpreter /usr/bin/env`)).toMatch(/^\/lib64\/ld-linux/);
  expect(sh(`${main} elf needed /usr/bin/env`)).toBe("libc.so.6\n");
  // A recipe is YAML, checked against its schema.
  expect(sh(`${main} list`)).toContain("nebula");
  symlinkSync(main, join(folder, "flatwrap"));
  expect(sh(`${folder}/flatwrap --help`)).toContain("Usage: flixwrap flatwrap");
});

it("works in a folder of any name", () => {
  const odd = join(folder, "a prefix, übel %41");
  sh('mkdir "$ODD" && cp -r package "$ODD"', { cwd: folder, env: { ODD: odd } });
  const list = (at: string): string => sh('node "$AT/package/dist/program/main.cjs" list', { env: { AT: at } });
  expect(list(odd)).toBe(list(folder));
});

it("has the libraries, and the licences of what is built into the commands", () => {
  const script = `import { readElf } from "flixwrap/elf"; console.log(typeof readElf)`;
  sh(`mkdir node_modules && ln -s ../package node_modules/flixwrap`, { cwd: folder });
  expect(sh(`node --input-type=module -e '${script}'`, { cwd: folder })).toBe("function\n");
  expect(sh(`cat ${folder}/package/dist/elf/index.d.ts`)).toContain("readElf");
  const licences = sh(`cat ${folder}/package/dist/program/LICENCES`);
  for (const name of ["commander", "execa", "yaml", "tar-stream"]) {
    expect(licences).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, "m"));
  }
});
