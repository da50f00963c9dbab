import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";

/** The built program, for `node`. */
export const main = new URL("../../dist/program/main.cjs", import.meta.url).pathname;

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Words before the command: `["setpriv", "--reuid", "1501", …]`. */
  readonly prefix?: readonly string[];
}

/** Runs the built program as a user would and waits for its end. */
export function flixwrap(args: readonly string[], { env = {}, cwd = "/", prefix = [] }: Surroundings = {}): Ended {
  const [command, ...rest] = [...prefix, process.execPath, main, ...args];
  const { status, stdout, stderr } = spawnSync(command!, rest, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...env },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

/** Makes the folder `extension` with Flix out of a folder `root`; `words` are entries and options. */
export function flixFolder(
  extension: string,
  root: string,
  name: string,
  words: readonly string[],
  surroundings?: Surroundings,
): Ended {
  return flixwrap(["flix", "--format", "dir", "-o", extension, `dir:${root}`, name, ...words], surroundings);
}

/** As {@link flixwrap}, while this process goes on (and may be the server that the program talks to). */
export function flixwrapAsync(args: readonly string[], { env = {}, cwd = "/" }: Surroundings = {}): Promise<Ended> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve) => {
    child.on("close", (status) =>
      resolve({ status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** A scratch folder that is gone after the test file. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "flixwrap-test-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a command and gives its standard output; throws with its messages when it fails. */
export function sh(command: string, options: { cwd?: string; env?: Record<string, string> } = {}): string {
  const { status, stdout, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", command], {
    ...options,
    env: { ...process.env, ...options.env },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${command}\nexit status ${status}\n${stderr}`);
  return stdout;
}
