import { randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import { access, constants, lstat, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { FlixwrapError } from "../core/errors.ts";
import { ownToken } from "./process-token.ts";
import { isSystemError, wordSystemError } from "./system-error.ts";
import { removeAfter, removeLeftovers } from "./temp.ts";

/** Where a result goes, and what may be replaced there. */
export interface Output {
  readonly path: string;
  readonly kind: "file" | "folder";
  /**
   * Whether the thing that stands at `path` now is one that we would write. A file is asked with its first bytes
   * (up to 128 KiB; an empty file is always ours to fill), a folder with its path. Anything else is refused.
   */
  readonly isOurs: (existing: { readonly path: string; readonly head: Uint8Array }) => boolean | Promise<boolean>;
}

const headSize = 131_072;

/**
 * Checks that `output` can be written, before any work is done for it.
 * @throws FlixwrapError `host-output-folder` (its folder is missing or not writable), `host-output-exists`
 *   (something stands there that we would not write).
 */
export async function checkOutput(output: Output): Promise<void> {
  const path = resolve(output.path);
  const parent = dirname(path);
  try {
    if (!(await stat(parent)).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    await access(parent, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw wordSystemError(error, "host-output-folder", "cannot write into the output's folder", parent);
  }
  const existing = await lstat(path).catch((error: unknown) => {
    if (isSystemError(error) && error.code === "ENOENT") return undefined;
    throw wordSystemError(error, "host-output-folder", "cannot look at the output", path);
  });
  if (existing === undefined) return;
  const found = describe(existing);
  if (found === "folder" && output.kind === "file") throw refusal(path, "a folder", "name the file in it");
  if (found !== output.kind) throw refusal(path, `a ${found}`);
  const head = found === "file" ? await readHead(path) : new Uint8Array(0);
  const isEmpty = found === "file" ? existing.size === 0 : (await readdir(path)).length === 0;
  if (!isEmpty && !(await output.isOurs({ path, head }))) throw refusal(path, `a ${found} that is none of ours`);
}

/**
 * Lets `write` make the result under a temporary name beside the goal (same file system) and renames it last:
 * the goal is either what it was or the whole result. On failure nothing is left behind; what a killed process
 * left for the same goal is removed.
 * @throws what {@link checkOutput} and `write` throw; failed system calls as `host-output-write`.
 */
export async function writeOutput<T>(output: Output, write: (temporary: string) => Promise<T>): Promise<T> {
  await checkOutput(output);
  const path = resolve(output.path);
  // The name may be 255 bytes long already: only a part of it is kept.
  const prefix = `.${basename(path).slice(0, 40)}.`;
  // The folder that a killed process was about to replace may be all there is, as long as we have no new one.
  removeLeftovers(dirname(path), prefix, OLD);
  const temporary = join(dirname(path), `${prefix}${ownToken()}-${randomBytes(6).toString("hex")}.part`);
  return removeAfter(temporary, async () => {
    try {
      const result = await write(temporary);
      await (output.kind === "file" ? rename(temporary, path) : replaceFolder(temporary, path));
      removeLeftovers(dirname(path), prefix);
      return result;
    } catch (error) {
      throw wordSystemError(error, "host-output-write", "cannot write the output", path);
    }
  });
}

const OLD = ".old";

/** rename(2) replaces a file, but no folder that has something in it. */
async function replaceFolder(temporary: string, path: string): Promise<void> {
  const old = `${temporary}${OLD}`;
  const moved = await rename(path, old).then(
    () => true,
    (error: unknown) => {
      if (isSystemError(error) && error.code === "ENOENT") return false;
      throw error;
    },
  );
  try {
    await rename(temporary, path);
  } catch (error) {
    if (moved) await rename(old, path);
    throw error;
  }
  if (moved) await rm(old, { recursive: true, force: true });
}

async function readHead(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(headSize), 0, headSize, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw wordSystemError(error, "host-output-exists", "cannot look at what stands at the output", path);
  }
}

function describe(existing: Stats): string {
  if (existing.isFile()) return "file";
  if (existing.isDirectory()) return "folder";
  if (existing.isSymbolicLink()) return "symbolic link";
  return "device or socket";
}

function refusal(path: string, got: string, hint = "remove it first, or choose another name"): FlixwrapError {
  return new FlixwrapError("host-output-exists", {
    what: "will not replace the output",
    where: path,
    got,
    hint,
  });
}
