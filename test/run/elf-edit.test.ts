import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { planEdits, readElf, type ElfEdits } from "../../src/elf/index.ts";
import { applyPatch } from "../unit/elf/patched.ts";

/** Programs that we edited do what they did before; gcc and the host's loader judge. */
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flixwrap-elf-"));
  mkdirSync(join(folder, "lib"));
  writeFileSync(join(folder, "answer.c"), "int answer(void) { return 42; }\n");
  writeFileSync(
    join(folder, "main.c"),
    '#include <stdio.h>\nint answer(void);\nint main(void) { printf("%d\\n", answer()); return 0; }\n',
  );
  gcc("-shared", "-fPIC", "-o", "lib/libanswer.so", "answer.c");
});

afterAll(() => rmSync(folder, { recursive: true }));

const gcc = (...args: string[]) => execFileSync("gcc", args, { cwd: folder });

/** Edits `name` into `name.edited` and tells how. */
function edit(name: string, edits: ElfEdits) {
  const bytes = readFileSync(join(folder, name));
  const patch = planEdits(readElf(memorySource(bytes), name), edits);
  writeFileSync(join(folder, `${name}.edited`), applyPatch(bytes, patch), { mode: 0o755 });
  return { patch, path: join(folder, `${name}.edited`), bytes };
}

describe.each([
  ["pie", []],
  ["no-pie", ["-no-pie"]],
  ["lld", ["-fuse-ld=lld"]],
  ["mold", ["-fuse-ld=mold"]],
  ["gold", ["-fuse-ld=gold"]],
])("a %s program", (name, flags) => {
  it("runs by its new interpreter and run path", () => {
    gcc(...flags, "-o", name, "main.c", "-Llib", "-lanswer");
    const interpreter = join(folder, "private loader with quite a long name", "ld.so");
    mkdirSync(join(interpreter, ".."), { recursive: true });
    copyFileSync(realpathSync("/lib64/ld-linux-x86-64.so.2"), interpreter);
    const { patch, path, bytes } = edit(name, {
      interpreter,
      runPath: { kind: "runpath", value: `/nowhere:${join(folder, "lib")}` },
    });
    expect(() => execFileSync(join(folder, name), { stdio: "pipe" })).toThrow("libanswer.so");
    expect(execFileSync(path, { encoding: "utf8" })).toBe("42\n");
    expect(execFileSync("readelf", ["-lW", path], { encoding: "utf8" })).toContain(`interpreter: ${interpreter}]`);
    expect(patch.growth).toBe(name === "lld" || name === "mold" ? "note" : "slack");
    if (patch.growth === "slack") expect(patch.size).toBe(bytes.length);
  });
});
