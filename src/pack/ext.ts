import { open, truncate } from "node:fs/promises";
import { encodeName } from "../core/names.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { FlixwrapError } from "../core/errors.ts";
import { treeUuid } from "./identity.ts";
import { type Packer, hasMagic } from "./packer.ts";
import { type RunTool, withStagedTree } from "./staged.ts";

const BLOCK = 4096;
const INODE = 256;

/** ext2 and ext4 without journal: as small as its content, or of the size that was asked for. */
function extPacker(type: "ext2" | "ext4"): Packer {
  return {
    kind: "file",
    suffix: ".raw",
    takes: ["size"],
    // s_magic 0xEF53; ext4's extents are an incompatible feature (0x40) that ext2 lacks.
    recognise: (head) => hasMagic(head, 1080, [0x53, 0xef]) && ((head[1120]! & 0x40) !== 0) === (type === "ext4"),
    async pack(tree, output, options, context) {
      const epoch = options.epoch ?? 0;
      await withStagedTree(tree, type, epoch, context, async (folder, run) => {
        const needed = estimateSize(tree);
        if (options.size !== undefined && options.size < needed.least)
          throw new FlixwrapError("pack-size", {
            what: "the tree does not fit",
            got: `${options.size} bytes`,
            wanted: `at least ${needed.least} bytes`,
          });
        await makeFile(output, options.size ?? needed.ample);
        const uuid = treeUuid(tree, type);
        const env = { E2FSPROGS_FAKE_TIME: String(Math.max(1, epoch)), SOURCE_DATE_EPOCH: String(epoch) };
        const tool = { package: "e2fsprogs", purpose: `pack ${type} images`, env };
        const options4 = type === "ext4" ? ["-O", "^has_journal,^resize_inode"] : ["-O", "^resize_inode"];
        const inodes = ["-N", String(tree.nodes.size + 32), "-I", String(INODE), "-b", String(BLOCK), "-m", "0"];
        const identity = ["-U", uuid, "-E", `hash_seed=${uuid},root_owner=0:0,lazy_itable_init=0,nodiscard`];
        await run({
          ...tool,
          tool: "mke2fs",
          args: ["-q", "-F", "-t", type, ...options4, ...inodes, ...identity, "-d", folder, output],
        });
        await settleTimes(tree, output, epoch, tool, run);
        if (options.size === undefined) await run({ ...tool, tool: "resize2fs", args: ["-M", output] });
      });
    },
  };
}

/** The row of ext4. */
export const ext4 = extPacker("ext4");
/** The row of ext2. */
export const ext2 = extPacker("ext2");

/**
 * mke2fs 1.47.0 takes over the staged files' ctime and atime, which nobody can set, and writes its own birth
 * times. Also `lost+found` is nothing an extension carries.
 */
async function settleTimes(
  tree: ExtensionTree,
  image: string,
  epoch: number,
  tool: { readonly package: string; readonly purpose: string; readonly env: Readonly<Record<string, string>> },
  run: RunTool,
): Promise<void> {
  // Inodes are numbered as they are made: the root is 2, lost+found 11, the tree's follow.
  const files = [...tree.nodes.values()].filter(({ type }) => type === "file");
  const last = 11 + tree.nodes.size - (files.length - new Set(files).size);
  const fields = ["ctime", "atime", "mtime", "crtime"].flatMap((field) => [`${field} @${epoch}`, `${field}_extra 0`]);
  const lines = ["rmdir lost+found"];
  for (const inode of [2, ...Array.from({ length: last - 11 }, (_, at) => at + 12)])
    for (const field of fields) lines.push(`set_inode_field <${inode}> ${field}`);
  await run({ ...tool, tool: "debugfs", args: ["-w", "-f", "-", image], stdin: Buffer.from(`${lines.join("\n")}\n`) });
}

/** Bytes: what the content takes at least, and a size that surely suffices before the shrinking. */
function estimateSize(tree: ExtensionTree): { readonly least: number; readonly ample: number } {
  let blocks = 0;
  for (const [path, node] of tree.nodes) {
    if (node.type === "file") blocks += Math.ceil(node.content.size / BLOCK);
    // Names of a folder: eight bytes each, and the name itself.
    blocks +=
      (encodeName(path).length + 16) / BLOCK + (node.type === "directory" ? 2 : 0) + (node.xattrs.size > 0 ? 1 : 0);
  }
  const least = Math.ceil(blocks) * BLOCK + tree.nodes.size * INODE;
  return { least, ample: Math.ceil((least * 1.1 + (16 << 20)) / BLOCK) * BLOCK };
}

async function makeFile(path: string, size: number): Promise<void> {
  const file = await open(path, "wx", 0o644);
  await file.close();
  await truncate(path, size);
}
