#!/usr/bin/env node
/**
 * The only file that touches `process`: arguments, environment, streams, signals and the exit status.
 *
 * One program stands behind every command name: called as `flix` it means `flixwrap flix`. `patchelf` is taken
 * before commander, node's streams and signals, because scripts call it once per file and pay its
 * start every time.
 */
import { writeSync } from "node:fs";
import { basename } from "node:path";

const shortNames: Readonly<Record<string, readonly string[]>> = {
  flix: ["flix"],
  flatwrap: ["flatwrap"],
  "torcx-sysext": ["torcx"],
};

const called = basename(process.argv[1] ?? "flixwrap").replace(/\.c?js$/, "");
const argv = [...(shortNames[called] ?? []), ...process.argv.slice(2)];

void (argv[0] === "patchelf" ? patchelf() : program()).then((status) => {
  process.exitCode = status;
});

async function patchelf(): Promise<number> {
  const { runPatchelf } = await import("./patchelf/run.ts");
  return runPatchelf(argv.slice(1), {
    out: (text) => print(1, text),
    err: (text) => print(2, text),
    env: process.env,
  });
}

async function program(): Promise<number> {
  // Children get the terminal's Ctrl-C as well; a second one ends the program at once.
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => interruption.abort());
  }
  for (const stream of [process.stdout, process.stderr]) stream.on("error", giveUp);
  const terminal = {
    out: (text: string) => void process.stdout.write(harmless(text)),
    err: (text: string) => void process.stderr.write(harmless(text)),
    interactive: process.stderr.isTTY && process.env["TERM"] !== "dumb",
  };
  const { runProgram } = await import("./program.ts");
  return runProgram(argv, { terminal, env: process.env, signal: interruption.signal, stdin: () => process.stdin });
}

/**
 * What JSON leaves as it is and a terminal obeys (U+009B begins a sequence as ESC [ does), spelled as JSON spells it.
 * All other text has been through `printable` where it was made.
 */
const harmless = (text: string): string =>
  text.replace(/[\u007f-\u009f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

function print(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      // A full pipe that somebody has set not to block: tried again until there is room.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") giveUp(error as NodeJS.ErrnoException);
    }
  }
}

/** A reader that has seen enough (`flix --dry-run … | head`) is no error; a full disk is. */
function giveUp(error: NodeJS.ErrnoException): never {
  if (error.code === "EPIPE") process.exit(0);
  try {
    writeSync(2, `${called}: cannot write the output: ${error.message}\n`);
  } catch {
    // Standard error is the one that cannot be written.
  }
  process.exit(1);
}
