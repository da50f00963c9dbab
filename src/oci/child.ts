import { spawn, type ChildProcess } from "node:child_process";
import type { Duplex } from "node:stream";
import { searchPath, type Context } from "../core/context.ts";
import { FlixwrapError, printable, interrupted } from "../core/errors.ts";
import { pipesFor } from "../core/sandbox.ts";

/** A program to run; `package` is Debian's, `purpose` completes "… is required to …". */
export interface Command {
  readonly argv: readonly string[];
  readonly purpose: string;
  readonly package: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What it can read from its descriptors beyond standard error. */
  readonly given?: ReadonlyMap<number, Uint8Array>;
}

/** How a child ended. */
export interface Ended {
  /** Exit status; 128 and the signal's number after a signal, as a shell has it. */
  readonly status: number;
  /** The last lines of standard error. */
  readonly complaints: readonly string[];
}

const KEPT_LINES = 20;

/**
 * Runs a program to its end; `input` goes to its standard input, every line of its output to `onLine`. It is
 * killed when the context is aborted.
 * @throws FlixwrapError `oci-tool-missing`, `interrupted`.
 */
export async function runChild(
  command: Command,
  context: Context,
  options: { readonly input?: Iterable<Uint8Array>; readonly onLine?: (line: string) => void } = {},
): Promise<Ended> {
  const { child, ended } = start(command, context, options.input === undefined ? "ignore" : "pipe");
  eachLine(child.stdout!, options.onLine ?? (() => undefined));
  const complaints = keepLines(child, options.onLine);
  if (options.input !== undefined) await feed(child, options.input, ended);
  return { status: await ended, complaints };
}

/**
 * Standard output of a program as it comes.
 * @throws FlixwrapError of `fail` when the program does not end well, `oci-tool-missing`, `interrupted`.
 */
export async function* childOutput(
  command: Command,
  context: Context,
  fail: (ended: Ended) => FlixwrapError,
): AsyncGenerator<Uint8Array> {
  const { child, ended } = start(command, context, "ignore");
  const complaints = keepLines(child);
  try {
    for await (const chunk of child.stdout!) yield chunk as Uint8Array;
    const status = await ended;
    if (status !== 0) throw fail({ status, complaints });
  } finally {
    child.kill("SIGKILL");
    ended.catch(() => undefined);
  }
}

function start(
  { argv: [program, ...args], purpose, package: debian, env, given = new Map() }: Command,
  context: Context,
  stdin: "ignore" | "pipe",
): { child: ChildProcess; ended: Promise<number> } {
  const child = spawn(program!, args, {
    stdio: [stdin, "pipe", "pipe", ...pipesFor(given)],
    env: { PATH: searchPath(context.env, "/usr/sbin:/usr/bin:/sbin:/bin"), LC_ALL: "C", ...env },
    signal: context.signal,
    killSignal: "SIGKILL",
  });
  for (const [descriptor, bytes] of given) {
    const pipe = child.stdio[descriptor] as Duplex;
    // It may end before it has read: its status tells.
    pipe.on("error", () => undefined);
    pipe.resume().end(bytes);
  }
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", (cause: NodeJS.ErrnoException) => {
      if (context.signal.aborted) reject(interrupted(cause));
      else if (cause.code !== "ENOENT") reject(cause);
      else {
        const hint = `install it (Debian: ${debian})`;
        reject(
          new FlixwrapError("oci-tool-missing", { what: `${program} is required to ${purpose}`, hint }, { cause }),
        );
      }
    });
    // 9 is SIGKILL's number; no other signal is sent from here.
    child.once("close", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : 9)));
  });
  ended.catch(() => undefined);
  return { child, ended };
}

function keepLines(child: ChildProcess, onLine?: (line: string) => void): string[] {
  const kept: string[] = [];
  eachLine(child.stderr!, (line) => {
    kept.push(line);
    if (kept.length > KEPT_LINES) kept.shift();
    onLine?.(line);
  });
  return kept;
}

/** A line longer than this is cut: output of strangers. */
const MAX_LINE = 4096;

function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split(/\r?\n|\r/);
    rest = lines.pop()!.slice(0, MAX_LINE);
    for (const line of lines) onLine(printable(line.slice(0, MAX_LINE)));
  });
  stream.on("end", () => {
    if (rest !== "") onLine(printable(rest));
  });
}

async function feed(child: ChildProcess, input: Iterable<Uint8Array>, ended: Promise<number>): Promise<void> {
  const stdin = child.stdin!;
  // The program may end before it has read everything: its status tells why.
  stdin.on("error", () => undefined);
  let isOver = false;
  const over = ended.then(
    () => (isOver = true),
    () => (isOver = true),
  );
  for (const chunk of input) {
    if (isOver) break;
    if (!stdin.write(chunk)) await Promise.race([new Promise((resolve) => stdin.once("drain", resolve)), over]);
  }
  stdin.end();
}
