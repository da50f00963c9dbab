import { constants } from "node:os";
import type { Duplex, Readable } from "node:stream";
import type { ExecaError, Options } from "execa";
import { searchPath, type Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { pipesFor } from "../core/sandbox.ts";

/** One child process: which program, what for, and what it is fed. */
export interface Command {
  /** Program name, searched in PATH and in the system's `sbin` folders. */
  readonly tool: string;
  /** Debian's name of the package that has it, for the message when it is missing. */
  readonly package: string;
  /** What it is needed for, after "to": `pack squashfs images`. */
  readonly purpose: string;
  readonly args: readonly string[];
  readonly stdin?: Readable | Uint8Array;
  /** What it can read from its descriptors beyond standard error. */
  readonly given?: ReadonlyMap<number, Uint8Array>;
  readonly cwd?: string;
  /** Added to the fixed environment (PATH, HOME, TMPDIR, LC_ALL=C, TZ=UTC). */
  readonly env?: Readonly<Record<string, string>>;
  /** After so many milliseconds the program is ended and the call fails with `host-tool-timeout`. */
  readonly timeout?: number;
  /** The program gets this process's own terminal, input and output; the result's texts are empty then. */
  readonly inherit?: boolean;
}

/** What a program that ran to its end left behind; texts are cut to their last 64 KiB. */
export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const outputLimit = 65_536;
const shownLines = 5;

/**
 * Runs a program to its end and returns what it said.
 * @throws FlixwrapError `host-tool-missing`; `host-tool-failed` for a status other than 0; `host-tool-timeout`;
 *   `interrupted` when the context's signal ended it; or the very error that `stdin` failed with.
 */
export async function runCommand(command: Command, context: Context): Promise<CommandResult> {
  const result = await tryCommand(command, context);
  if (result.status !== 0) throw failure(command, result);
  return result;
}

/** As {@link runCommand}, but a status other than 0 is a result, not an error. */
export async function tryCommand(command: Command, context: Context): Promise<CommandResult> {
  if (context.signal.aborted) throw interrupted();
  // execa costs about 100 ms to load: only those pay who run something.
  const { execa } = await import("execa");
  const { stdin, inherit = false, given = new Map() } = command;
  const options = {
    env: { ...fixedEnvironment(context), ...command.env },
    extendEnv: false,
    // A process group of its own: a tool's children hold the pipes open and must end with it. Only a program that
    // reads the terminal must stay in ours.
    detached: !inherit,
    // execa would end this process by the very signal, before anything is put away; endGroupOn does what it is for.
    cleanup: false,
    ...defined({ cwd: command.cwd }),
    ...(stdin !== undefined ? { input: stdin } : {}),
    // Bounded here, since execa ends a program that says more than its maxBuffer.
    buffer: false,
    stdio: inherit ? "inherit" : [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe", ...pipesFor(given)],
  } satisfies Options;
  const child = execa(command.tool, command.args, options);
  for (const [descriptor, bytes] of given) feed(child.stdio[descriptor] as Duplex, bytes);
  const end = endGroupOn(child.pid === undefined || inherit ? child.pid : -child.pid, context.signal, command.timeout);
  const [stdout, stderr] = [collectTail(child.stdout), collectTail(child.stderr)];
  try {
    await child;
    return { status: 0, stdout: await stdout, stderr: await stderr };
  } catch (error) {
    const failed = error as ExecaError;
    const cause = failed.cause as (Error & { code?: string }) | undefined;
    if (cause instanceof FlixwrapError) throw cause;
    if (context.signal.aborted) throw interrupted(error);
    if (end.timedOut())
      throw new FlixwrapError("host-tool-timeout", {
        what: `${command.tool} did not finish within ${command.timeout} ms`,
      });
    if (failed.code === "ENOENT" || failed.code === "EACCES") throw missing(command, error);
    if (failed.exitCode === undefined && failed.signal === undefined) throw error;
    const said = await stderr;
    return {
      // As a shell tells it.
      status: failed.exitCode ?? 128 + (constants.signals[failed.signal as NodeJS.Signals] ?? 0),
      stdout: await stdout,
      stderr: failed.signal === undefined ? said : `${said}\nended by ${failed.signal}`.trim(),
    };
  } finally {
    end.stop();
  }
}

function feed(pipe: Duplex, bytes: Uint8Array): void {
  // It may end before it has read: its status tells.
  pipe.on("error", () => undefined);
  pipe.resume().end(bytes);
}

const patience = 2000;

/** Ends process or group (negative) `pid` on the signal, after the time limit, and when this process ends before it does. */
function endGroupOn(
  pid: number | undefined,
  signal: AbortSignal,
  limit: number | undefined,
): { timedOut: () => boolean; stop: () => void } {
  let timedOut = false;
  let killer: NodeJS.Timeout | undefined;
  const send = (name: NodeJS.Signals) => {
    try {
      if (pid !== undefined) process.kill(pid, name);
    } catch {
      // Gone already.
    }
  };
  const end = () => {
    send("SIGTERM");
    killer ??= setTimeout(() => send("SIGKILL"), patience);
  };
  const kill = () => send("SIGKILL");
  const timer =
    limit === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          end();
        }, limit);
  signal.addEventListener("abort", end, { once: true });
  process.on("exit", kill);
  return {
    timedOut: () => timedOut,
    stop: () => {
      clearTimeout(timer);
      clearTimeout(killer);
      signal.removeEventListener("abort", end);
      process.off("exit", kill);
    },
  };
}

/** The error for a program that is not installed: what needs it, and which package has it. */
export function missing(command: Pick<Command, "tool" | "package" | "purpose">, cause?: unknown): FlixwrapError {
  return new FlixwrapError(
    "host-tool-missing",
    { what: `${command.tool} is required to ${command.purpose}`, hint: `install package ${command.package}` },
    { cause },
  );
}

function failure(command: Command, result: CommandResult): FlixwrapError {
  const lines = result.stderr.split("\n").filter((line) => line.trim() !== "");
  return new FlixwrapError("host-tool-failed", {
    what: `${command.tool} failed to ${command.purpose}`,
    got: `exit status ${result.status}`,
    items: lines.slice(-shownLines),
  });
}

/** Nothing of the caller's locale, time zone or epoch reaches a tool: same input, same bytes. */
function fixedEnvironment(context: Context): Record<string, string> {
  const { HOME, TMPDIR } = context.env;
  // mkfs programs live in sbin, which an ordinary user's PATH may not have.
  const folders = [searchPath(context.env, "/usr/local/bin:/usr/bin:/bin"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  return {
    PATH: folders.join(":"),
    LC_ALL: "C",
    TZ: "UTC",
    ...defined({ HOME, TMPDIR }),
  };
}

async function collectTail(stream: Readable | null | undefined): Promise<string> {
  if (stream === undefined || stream === null) return "";
  let kept: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      kept.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > 4 * outputLimit) {
        kept = [Buffer.concat(kept).subarray(-outputLimit)];
        size = outputLimit;
      }
    }
  } catch {
    // A killed program's pipe may end early; what it said until then is kept.
  }
  return Buffer.concat(kept).subarray(-outputLimit).toString("utf8").trimEnd();
}
