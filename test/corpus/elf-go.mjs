/**
 * Programs of Go, whose linker leaves least room: static, with cgo (linked by gcc), and as PIE. Debian's golang-go is too large for the tests.
 *
 *     npm run build && node test/corpus/elf-go.mjs [--go /usr/bin/go]
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { memorySource } from "../../dist/core/bytes.js";
import { planEdits, readElf } from "../../dist/elf/index.js";

const { values } = parseArgs({ options: { go: { type: "string", default: "go" } } });
const folder = mkdtempSync(join(tmpdir(), "flixwrap-go-"));
const loader = realpathSync("/lib64/ld-linux-x86-64.so.2");
const plain = 'package main\nimport "fmt"\nfunc main() { fmt.Println(42) }\n';
const cgo =
  'package main\n// int answer(void) { return 42; }\nimport "C"\nimport "fmt"\nfunc main() { fmt.Println(int(C.answer())) }\n';

/** What is built, from what, by which flags, with cgo or without. */
const kinds = /** @type {[string, string, string[], string][]} */ ([
  ["static", plain, [], "0"],
  ["pie", plain, ["-buildmode=pie"], "0"],
  ["pie, linked by gcc", plain, ["-buildmode=pie", "-ldflags=-linkmode=external"], "1"],
  ["cgo", cgo, [], "1"],
  ["cgo, pie", cgo, ["-buildmode=pie"], "1"],
  ["cgo, stripped by Go", cgo, ["-ldflags=-s -w"], "1"],
]);
const edits = [
  ["interpreter", { interpreter: loader }],
  ["run path", { runPath: { kind: "rpath", value: "/nowhere:/lib/x86_64-linux-gnu" } }],
  [
    "both, NODEFLIB",
    { interpreter: loader, runPath: { kind: "rpath", value: "/nowhere:/lib/x86_64-linux-gnu" }, noDefaultLib: true },
  ],
];

try {
  for (const [kind, source, flags, enabled] of kinds) {
    writeFileSync(join(folder, "main.go"), source);
    const env = {
      ...process.env,
      CGO_ENABLED: enabled,
      GOCACHE: join(folder, "cache"),
      GOFLAGS: "-mod=mod",
      GOPATH: join(folder, "path"),
      HOME: folder,
    };
    execFileSync(values.go, ["build", ...flags, "-o", "program", "main.go"], { cwd: folder, env, stdio: "inherit" });
    for (const [what, wanted] of edits) console.log(`${kind.padEnd(22)} ${what.padEnd(16)} ${judge(wanted)}`);
  }
} finally {
  // Go write-protects its module cache.
  rmSync(folder, { recursive: true, force: true });
}

function judge(wanted) {
  const bytes = readFileSync(join(folder, "program"));
  let patch;
  try {
    patch = planEdits(readElf(memorySource(bytes), "program"), wanted);
  } catch (error) {
    return `refused: ${error.message}`;
  }
  const out = Buffer.alloc(patch.size);
  bytes.copy(out);
  for (const { offset, bytes: written } of patch.writes) out.set(written, offset);
  const goal = join(folder, "edited");
  rmSync(goal, { force: true });
  writeFileSync(goal, out, { mode: 0o755 });
  const runs = (path) => spawnSync(path, { encoding: "utf8" }).stdout === "42\n";
  const strip = spawnSync("strip", ["-o", `${goal}.stripped`, goal]).status === 0 && runs(`${goal}.stripped`);
  return `${runs(goal) ? "runs" : "DOES NOT RUN"}, stripped ${strip ? "runs" : "DOES NOT RUN"}, ${patch.growth}, +${patch.size - bytes.length} bytes`;
}
