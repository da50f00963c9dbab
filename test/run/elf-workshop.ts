import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource } from "../../src/core/bytes.ts";
import { planEdits, readElf, type ElfEdits, type ElfPatch, type GrowthLimits } from "../../src/elf/index.ts";
import { applyPatch } from "../unit/elf/patched.ts";

/** A folder in which programs are compiled, edited and run. */
export interface Workshop {
  readonly folder: string;
  /** A private copy of the host's loader. */
  readonly loader: string;
  path(...names: string[]): string;
  compile(compiler: string, ...args: string[]): void;
  /** Plans `edits` for `name` and writes the result to `name` with the suffix. */
  edit(
    name: string,
    edits: ElfEdits,
    options?: { readonly suffix?: string; readonly limits?: Partial<GrowthLimits> },
  ): Edited;
  close(): void;
}

export interface Edited {
  readonly path: string;
  readonly patch: ElfPatch;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** With `libanswer.so` (versioned, in lib/) and `main.c`, which prints 42 by it. */
export function openWorkshop(): Workshop {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "flixwrap-elf-")));
  const path = (...names: string[]) => join(folder, ...names);
  const loader = path("private loader with quite a long name", "ld.so");
  mkdirSync(path("lib"));
  mkdirSync(path("private loader with quite a long name"));
  copyFileSync(realpathSync("/lib64/ld-linux-x86-64.so.2"), loader);
  writeFileSync(path("answer.map"), "ANSWER_1.0 { global: answer; local: *; };\n");
  writeFileSync(
    path("answer.c"),
    `static __thread int calls;
__attribute__((constructor)) static void start(void) { calls++; }
int answer(void) { return 42 + calls - calls; }
`,
  );
  writeFileSync(
    path("main.c"),
    `#include <stdio.h>
int answer(void);
static int large[75000];
static void *const table[] = { (void *)answer, (void *)table };
int main(void) { large[1] = answer(); printf("%d\\n", table[1] ? large[1] : 1); return 0; }
`,
  );
  const compile = (compiler: string, ...args: string[]) => {
    const { status, stderr } = spawnSync(compiler, args, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`${compiler} ${args.join(" ")}: ${stderr}`);
  };
  compile(
    "gcc",
    "-shared",
    "-fPIC",
    "-Wl,-soname,libanswer.so",
    "-Wl,--version-script=answer.map",
    "-o",
    "lib/libanswer.so",
    "answer.c",
  );
  return {
    folder,
    loader,
    path,
    compile,
    edit(name, edits, { suffix = ".edited", limits = {} } = {}) {
      const before = readFileSync(path(name));
      const patch = planEdits(readElf(memorySource(before), name), edits, limits);
      const after = applyPatch(before, patch);
      writeFileSync(path(`${name}${suffix}`), after, { mode: 0o755 });
      return { path: path(`${name}${suffix}`), patch, before, after };
    },
    close: () => rmSync(folder, { recursive: true }),
  };
}

/** Standard output of a program that is to succeed. */
export const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LD_BIND_NOW: "1" },
  });

/** What eu-elflint says of a file, one complaint an item; a header has another number after an edit. */
export function lint(path: string): string[] {
  const { stdout } = spawnSync("eu-elflint", ["--gnu-ld", path], { encoding: "utf8" });
  const lines = stdout.split("\n").filter((line) => line !== "" && line !== "No errors");
  return lines.map((line) => line.replace(/program header entry \d+/, "program header entry"));
}
