#!/usr/bin/env node
/**
 * The only file that touches `process`: arguments, environment, streams, signals and the exit status.
 *
 * One program stands behind every command name: called as `flix` it means `flixwrap flix`. `patchelf` is taken
 * before commander is loaded, because scripts call it once per file and pay its start every time.
 */
import { basename } from "node:path";
import type { Terminal } from "./report.ts";

const shortNames: Readonly<Record<string, readonly string[]>> = {
  flix: ["flix"],
  flatwrap: ["flatwrap"],
  "torcx-sysext": ["torcx"],
};

const terminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  interactive: process.stderr.isTTY && process.env["TERM"] !== "dumb",
};

// A reader that has seen enough (`flix --dry-run … | head`) is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 70));
}

// Children get the terminal's Ctrl-C as well; a second one ends the program at once.
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => interruption.abort());
}

const called = basename(process.argv[1] ?? "flixwrap").replace(/\.js$/, "");
const argv = [...(shortNames[called] ?? []), ...process.argv.slice(2)];

process.exitCode = await run();

async function run(): Promise<number> {
  if (argv[0] === "patchelf") {
    const { runPatchelf } = await import("./patchelf/run.ts");
    return runPatchelf(argv.slice(1), { out: terminal.out, err: terminal.err, env: process.env });
  }
  const { runProgram } = await import("./program.ts");
  return runProgram(argv, { terminal, env: process.env, signal: interruption.signal, stdin: () => process.stdin });
}
