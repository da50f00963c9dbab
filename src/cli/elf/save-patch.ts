import { spawnSync } from "node:child_process";
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
  type Stats,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ElfPatch } from "../../elf/index.ts";
import { overlaySource } from "../../extension/overlay.ts";
import { wordSystemError } from "../../host/system-error.ts";
import { openFile } from "./open-file.ts";

/**
 * Writes the patched copy of `path` to `goal`, by default over `path` itself: under a temporary name beside it first, so that at
 * any moment the old file or the new one is there, whole. Replacing a file keeps its mode, owner, times and
 * extended attributes; its other hard links keep the old bytes. A link as goal stays a link. A goal that is no
 * regular file (`/dev/null`, a pipe) is written to. An empty patch of `path` itself writes nothing.
 * @throws FlixwrapError `host-write`; nothing is left behind.
 */
export function savePatch(path: string, patch: Pick<ElfPatch, "writes" | "size">, goal: string = path): void {
  try {
    const old = statSync(goal, { throwIfNoEntry: false });
    if (old !== undefined && !old.isFile()) writeThrough(path, patch, goal);
    else if (goal !== path || patch.writes.length > 0 || patch.size !== old?.size) replace(path, patch, goal, old);
  } catch (error) {
    throw wordSystemError(error, "host-write", "cannot write the file", goal);
  }
}

function replace(path: string, patch: Pick<ElfPatch, "writes" | "size">, goal: string, old: Stats | undefined): void {
  const real = old === undefined ? goal : realpathSync(goal);
  // rename(2) would replace a write-protected file without asking.
  if (old !== undefined) accessSync(real, constants.W_OK);
  // Opened exclusively, so that no name has to be secret.
  const temporary = join(
    dirname(real),
    `.${basename(real).slice(0, 40)}.${Math.random().toString(36).slice(2, 10)}.part`,
  );
  try {
    copyFileSync(path, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const mode = statSync(temporary).mode & 0o7777;
    if ((mode & 0o600) !== 0o600) chmodSync(temporary, mode | 0o600);
    const file = openSync(temporary, "r+");
    try {
      writePatch(file, patch);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (old === undefined) chmodSync(temporary, mode);
    else copyAttributes(real, old, temporary);
    renameSync(temporary, real);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function writePatch(file: number, { writes, size }: Pick<ElfPatch, "writes" | "size">): void {
  for (const { offset, bytes } of writes) {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done, offset + done);
  }
  ftruncateSync(file, size);
}

/**
 * Node has no extended attributes, and writing to a file drops its capabilities (capabilities(7)), so they are copied last, by
 * coreutils. Where there is no such `cp`, mode, owner and times are kept and a file that has capabilities loses them.
 */
function copyAttributes(from: string, old: Stats, to: string): void {
  const now = statSync(to);
  if (now.uid !== old.uid || now.gid !== old.gid) chownSync(to, old.uid, old.gid);
  chmodSync(to, old.mode & 0o7777);
  utimesSync(to, old.atimeMs / 1000, old.mtimeMs / 1000);
  spawnSync("cp", ["--attributes-only", "--preserve=all", "--", from, to], { stdio: "ignore" });
}

/** Devices and pipes cannot be replaced. */
function writeThrough(path: string, { writes, size }: Pick<ElfPatch, "writes" | "size">, goal: string): void {
  const { source, close } = openFile(path);
  const file = openSync(goal, "w");
  try {
    const patched = overlaySource(source, writes, size);
    const step = 1 << 20;
    for (let at = 0; at < size; at += step) {
      const piece = patched.read(at, step);
      for (let done = 0; done < piece.length;) done += writeSync(file, piece, done, piece.length - done);
    }
  } finally {
    closeSync(file);
    close();
  }
}
