import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readFile, readdir, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { parseRelease } from "../extension/release.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { type Output, writeOutput } from "../host/output.ts";
import { type Format, packers, recogniseFormat } from "./formats.ts";
import type { PackOptions } from "./packer.ts";

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
 * @throws FlixwrapError `host-output-folder`, `host-output-exists`, `host-tool-missing`, `pack-failed` (with the
 *   tool's last lines), `pack-disk-full`, `interrupted`.
 */
export async function packTree(tree: ExtensionTree, request: PackRequest, context: Context): Promise<ImageFile> {
  const packer = packers[request.format];
  const output = planOutput(tree.name, request);
  context.emit({ kind: "step", step: "pack", detail: output.path });
  const measured = await writeOutput(output, async (temporary) => {
    try {
      await packer.pack(tree, temporary, request, context);
    } catch (error) {
      throw await explainDiskFull(error, output.path);
    }
    return measure(temporary, packer.kind, tree);
  });
  return { path: output.path, format: request.format, ...measured };
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
): Promise<{ size: number; sha256?: string }> {
  if (kind === "folder") {
    let size = 0;
    for (const node of tree.nodes.values()) if (node.type === "file") size += node.content.size;
    return { size };
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return { size: (await stat(path)).size, sha256: hash.digest("hex") };
}

/** A tool says "no space" in words of its own; the file system says it in numbers. */
async function explainDiskFull(error: unknown, output: string): Promise<unknown> {
  if (!(error instanceof FlixwrapError) || error.code !== "host-tool-failed") return error;
  const parent = dirname(output);
  const space = await statfs(parent).catch(() => undefined);
  if (space === undefined || space.bavail * space.bsize > 1 << 20) return error;
  return new FlixwrapError(
    "pack-disk-full",
    { what: `cannot write ${basename(output)}: no space left on the disk`, where: parent },
    { cause: error },
  );
}
