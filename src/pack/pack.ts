import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readFile, readdir, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { parseRelease } from "../extension/release.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { type Output, writeOutput } from "../host/output.ts";
import { type Format, packers, recogniseFormat } from "./formats.ts";
import type { PackOption, PackOptions, Packer } from "./packer.ts";

/** A finished image. */
export interface ImageFile {
  readonly path: string;
  readonly format: Format;
  /** Bytes of the file; of a folder, the sum of its files. */
  readonly size: number;
  /** Lower-case hex; folders have none. */
  readonly sha256?: string;
}

/** What to make and where. */
export interface PackRequest extends PackOptions {
  readonly format: Format;
  /** The image's path; `NAME` with the format's suffix in the current folder when not given. */
  readonly output?: string;
}

/**
 * Packs the tree: written beside its goal, renamed last. Equal trees and options give equal bytes.
 * @throws FlixwrapError `usage` ({@link checkPackOptions}), `host-output-folder`, `host-output-exists`, `host-tool-missing`, `pack-failed` (with the
 *   tool's last lines), `pack-disk-full`, `interrupted`.
 */
export async function packTree(tree: ExtensionTree, request: PackRequest, context: Context): Promise<ImageFile> {
  checkPackOptions(request);
  const packer = packers[request.format];
  const output = planOutput(tree.name, request);
  context.emit({ kind: "step", step: "pack", detail: output.path });
  const measured = await writeOutput(output, async (temporary) => {
    try {
      await packer.pack(tree, temporary, request, context);
      const told = await measure(temporary, packer.kind, tree, context.signal);
      // Some steps are over before they see it: what was not wanted any more does not replace anything.
      if (context.signal.aborted) throw interrupted();
      return told;
    } catch (error) {
      throw context.signal.aborted ? interrupted(error) : await explainDiskFull(error, output.path);
    }
  });
  return { path: output.path, format: request.format, ...measured };
}

/** How the command line names them, where it is not the same word. */
const flags: Readonly<Partial<Record<PackOption, string>>> = { blockSize: "block-size", signing: "private-key" };

/**
 * Refuses what would be passed over in silence: who gives a key believes that the image is signed.
 * @throws FlixwrapError `usage`.
 */
export function checkPackOptions(request: PackRequest): void {
  const all = Object.entries(packers) as [Format, Packer][];
  for (const option of ["compression", "level", "blockSize", "size", "filesystem", "seed", "signing"] as const)
    if (request[option] !== undefined && !packers[request.format].takes.some((one) => one === option))
      throw new FlixwrapError("usage", {
        what: `--${flags[option] ?? option} means nothing to the format ${request.format}`,
        wanted: `--format ${all.flatMap(([name, { takes }]) => (takes.includes(option) ? [name] : [])).join(", ")}`,
      });
}

/** Where the image goes, and what may be replaced there: an image of any format we write, or our own folder. */
export function planOutput(name: string, request: PackRequest): Output {
  const packer = packers[request.format];
  return {
    path: request.output ?? `${name}${packer.suffix}`,
    kind: packer.kind,
    isOurs: ({ path, head }) =>
      packer.kind === "folder" ? isOurFolder(path, name) : recogniseFormat(head) !== undefined,
  };
}

/**
 * A folder is replaced only when it can be nothing but an earlier result: `usr` and `opt` alone, with an
 * extension-release of this very name that carries our mark.
 */
async function isOurFolder(path: string, name: string): Promise<boolean> {
  const entries = await readdir(path);
  if (entries.some((entry) => entry !== "usr" && entry !== "opt")) return false;
  const release = join(path, "usr/lib/extension-release.d", `extension-release.${name}`);
  const found = await lstat(release).catch(() => undefined);
  if (found?.isFile() !== true || found.size > 65_536) return false;
  return parseRelease(await readFile(release, "utf8")).has(ownMark);
}

/** The informative line in extension-release that says who made the extension; every finished tree has it. */
export const ownMark = "FLIXWRAP_VERSION";

async function measure(
  path: string,
  kind: "file" | "folder",
  tree: ExtensionTree,
  signal: AbortSignal,
): Promise<{ size: number; sha256?: string }> {
  if (kind === "folder") {
    let size = 0;
    for (const node of tree.nodes.values()) if (node.type === "file") size += node.content.size;
    return { size };
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) hash.update(chunk as Buffer);
  return { size: (await stat(path)).size, sha256: hash.digest("hex") };
}

/** A tool says "no space" in words of its own; the file system says it in numbers. */
async function explainDiskFull(error: unknown, output: string): Promise<unknown> {
  if (!(error instanceof FlixwrapError) || error.code !== "host-tool-failed") return error;
  const parent = dirname(output);
  const space = await statfs(parent).catch(() => undefined);
  // mksquashfs has removed what it wrote by now; the C library's word for ENOSPC stays. /proc has no size at all.
  const isTold = error.facts.items?.some((line) => line.includes("No space left on device")) ?? false;
  const isFull = space !== undefined && space.blocks > 0 && space.bavail * space.bsize <= 1 << 20;
  if (!isTold && !isFull) return error;
  return new FlixwrapError(
    "pack-disk-full",
    { what: `cannot write ${basename(output)}: no space left on the disk`, where: parent },
    { cause: error },
  );
}
