/**
 * patchelf's own test scripts against any command that takes patchelf's options.
 *
 *     node test/corpus/patchelf-suite.mjs --suite /path/to/patchelf [--command "node dist/program/main.cjs patchelf"]
 *         [--host i686-linux-gnu] [--unskip] [--only soname] [--json]
 *
 * --suite is a source tree of patchelf: Debian's source package, or upstream's. Only the fixtures of its tests are
 * compiled, never its program. --host cross-compiles the fixtures. --unskip lets two tests run that look for a `uname` that no Debian
 * has. Needs autoconf, automake, make, gcc.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    suite: { type: "string" },
    command: {
      type: "string",
      default: `${process.execPath} ${new URL("../../dist/program/main.cjs", import.meta.url).pathname} patchelf`,
    },
    host: { type: "string" },
    unskip: { type: "boolean", default: false },
    only: { type: "string" },
    iters: { type: "string", default: "25" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

const work = mkdtempSync(join(tmpdir(), "flixwrap-patchelf-suite-"));
const prefix = values.host === undefined ? "" : `${values.host}-`;
try {
  const tree = join(work, "tree");
  prepare(tree);
  const tests = listTests(join(tree, "tests")).filter(
    (name) => values.only === undefined || name === `${values.only}.sh`,
  );
  const results = [];
  const queue = [...tests];
  await Promise.all(
    [0, 1].map(async (lane) => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift())
        results.push(await runTest(tree, name, lane));
    }),
  );
  report(results.sort((a, b) => (a.name < b.name ? -1 : 1)));
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The fixtures, compiled once; and in place of the program under test a launcher, because some tests look at it as an ELF file. */
function prepare(tree) {
  cpSync(values.suite, tree, { recursive: true, verbatimSymlinks: true });
  const build = (command, ...args) =>
    execFileSync(command, args, { cwd: tree, stdio: values.verbose ? "inherit" : "pipe" });
  if (!existsSync(join(tree, "configure"))) build("sh", "bootstrap.sh");
  build("sh", "configure", ...(values.host === undefined ? [] : [`--host=${values.host}`]));
  build("make", "-C", "tests", "check", "TESTS=");
  const words = values.command.split(" ").map((word) => (existsSync(word) ? resolve(word) : word));
  const quoted = words.map((word) => JSON.stringify(word)).join(", ");
  writeFileSync(
    join(work, "launcher.c"),
    `#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  const char *command[] = { ${quoted} };
  int count = sizeof command / sizeof *command;
  const char **all = calloc(count + argc + 1, sizeof *all);
  for (int i = 0; i < count; i++) all[i] = command[i];
  for (int i = 1; i < argc; i++) all[count + i - 1] = argv[i];
  return execvp(all[0], (char **) all), 127;
}
`,
  );
  // Of the fixtures' machine, if its programs run here: one test gives a fixture the launcher's interpreter.
  const launcher = join(tree, "src", "patchelf");
  for (const compiler of new Set([`${prefix}gcc`, "gcc"])) {
    execFileSync(compiler, ["-o", launcher, join(work, "launcher.c")]);
    if (spawnSync(launcher, ["--version"]).status === 0) return;
  }
  throw new Error(`the command does not answer --version: ${values.command}`);
}

/** Every script, and one more for each prebuilt program that `no-rpath-prebuild.sh` is linked to. */
function listTests(folder) {
  const scripts = readdirSync(folder).filter((name) => name.endsWith(".sh") && name !== "no-rpath-prebuild.sh");
  const prebuilt = existsSync(join(folder, "no-rpath-prebuild")) ? readdirSync(join(folder, "no-rpath-prebuild")) : [];
  for (const name of prebuilt) {
    const script = `${name}.sh`;
    if (scripts.includes(script)) continue;
    if (!existsSync(join(folder, script))) symlinkSync("no-rpath-prebuild.sh", join(folder, script));
    scripts.push(script);
  }
  return [...new Set(scripts)].sort((a, b) => (a < b ? -1 : 1));
}

/** Each test in a copy of its own: some write-protect what they share. */
async function runTest(tree, name, lane) {
  const copy = join(work, `run-${name}`);
  mkdirSync(copy);
  cpSync(join(tree, "tests"), join(copy, "tests"), { recursive: true, verbatimSymlinks: true });
  cpSync(join(tree, "src"), join(copy, "src"), { recursive: true, verbatimSymlinks: true });
  const tools = Object.fromEntries(
    ["READELF", "NM", "OBJDUMP", "OBJCOPY", "STRIP", "STRINGS"].map((tool) => [tool, `${prefix}${tool.toLowerCase()}`]),
  );
  const path = values.unskip ? `${fakeUname(lane)}:${process.env.PATH}` : process.env.PATH;
  const env = {
    ...process.env,
    ...tools,
    PATH: path,
    PATCHELF_DEBUG: "1",
    srcdir: ".",
    CC: `${prefix}gcc`,
    CXX: `${prefix}g++`,
    SEED: values.seed,
    ITERS: values.iters,
    TMPDIR: copy,
  };
  let output = "";
  const status = await new Promise((settle) => {
    const child = spawn(join(copy, "tests", name), {
      cwd: join(copy, "tests"),
      env,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 1_200_000,
    });
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (output += data));
    child.on("error", (error) => ((output += error), settle(126)));
    child.on("close", settle);
  });
  rmSync(copy, { recursive: true, force: true });
  return { name: name.replace(/\.sh$/, ""), result: status === 0 ? "pass" : status === 77 ? "skip" : "fail", output };
}

/** Two tests want `uname -m` to say amd64 and `uname -i` to say x86_64, which Debian's never does. */
function fakeUname(lane) {
  const folder = join(work, `uname-${lane}`);
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  writeFileSync(
    join(folder, "uname"),
    '#!/bin/sh\ncase "$1" in -m) echo amd64;; -i) echo x86_64;; *) exec /bin/uname "$@";; esac\n',
  );
  chmodSync(join(folder, "uname"), 0o755);
  return folder;
}

function report(results) {
  if (values.json) {
    console.log(JSON.stringify(results.map(({ name, result }) => ({ name, result }))));
    return;
  }
  for (const { name, result, output } of results) {
    if (result !== "pass") console.log(`${result.toUpperCase()} ${name}`);
    if (result === "fail")
      console.log(
        output
          .trim()
          .split("\n")
          .slice(-12)
          .map((line) => `    ${line.slice(0, 300)}`)
          .join("\n"),
      );
  }
  const count = (wanted) => results.filter(({ result }) => result === wanted).length;
  console.log(`${results.length} tests: ${count("pass")} passed, ${count("fail")} failed, ${count("skip")} skipped`);
}
