#!/usr/bin/env node
/**
 * Where the program meets its caller: arguments, environment, streams, signals and the exit status. Besides this file
 * only `src/host` touches `process`, for its children.
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

/** Whether a result could not be written to standard output. */
let isLost = false;

void (argv[0] === "patchelf" ? patchelf() : program()).then((status) => {
  process.exitCode = status || (isLost ? 1 : 0);
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
  let received = 2;
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
    process.once(signal, () => {
      if (!interruption.signal.aborted) received = number;
      interruption.abort();
    });
  }
  // Messages that nobody can read end no work.
  process.stderr.on("error", () => undefined);
  process.stdout.on("error", tellLost);
  const terminal = {
    out: (text: string) => void process.stdout.write(harmless(text)),
    err: (text: string) => void process.stderr.write(harmless(text)),
    interactive: process.stderr.isTTY && process.env["TERM"] !== "dumb",
  };
  const { runProgram } = await import("./program.ts");
  const status = await runProgram(argv, {
    terminal,
    env: process.env,
    signal: interruption.signal,
    stdin: {
      isTerminal: () => process.stdin.isTTY,
      read: () => {
        // A pipe that nobody writes to must not keep an interrupted program.
        interruption.signal.addEventListener("abort", () => process.stdin.destroy(new Error("interrupted")));
        return process.stdin;
      },
    },
    currentFolder: () => process.cwd(),
  });
  // As a shell tells it: 130 after Ctrl-C, 143 after SIGTERM.
  return status === 130 ? 128 + received : status;
}

/**
 * What JSON leaves as it is and a terminal obeys (U+009B begins a sequence as ESC [ does), spelled as JSON spells it.
 * All other text has been through `printable` where it was made.
 */
const harmless = (text: string): string =>
  text.replace(/[\u007f-\u009f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A reader that has seen enough (`flix --dry-run … | head`) is no error; a result that cannot be written is one. */
function tellLost(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE" || isLost) return;
  isLost = true;
  process.stderr.write(lost(error));
  // Told late, perhaps after the last step.
  process.exitCode ||= 1;
}

const lost = (error: NodeJS.ErrnoException): string =>
  `${argv[0]?.startsWith("-") === false ? argv[0] : "flixwrap"}: cannot write to standard output: got ${error.code === "ENOSPC" ? "no space left on the disk" : error.message}\n`;

function print(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A full pipe that somebody has set not to block: tried again until there is room.
      if (code === "EAGAIN") continue;
      if (descriptor === 1) {
        if (code !== "EPIPE" && !isLost) print(2, lost(error as NodeJS.ErrnoException));
        isLost ||= code !== "EPIPE";
      }
      return;
    }
  }
}
