import { FlixwrapError } from "../core/errors.ts";
import { treeUuid } from "./identity.ts";
import { type Packer, hasMagic } from "./packer.ts";
import { withStagedTree } from "./staged.ts";

/** Read-only and compressed in fixed clusters; erofs-utils before 1.7 (Debian 12) take a folder only. */
export const erofs: Packer = {
  kind: "file",
  suffix: ".raw",
  takes: ["compression", "level", "blockSize"],
  recognise: (head) => hasMagic(head, 1024, [0xe2, 0xe1, 0xf5, 0xe0]),
  async pack(tree, output, options, context) {
    const epoch = options.epoch ?? 0;
    const compression = chooseCompression(options.compression, options.level);
    await withStagedTree(tree, "erofs", epoch, context, (folder, run) =>
      run({
        tool: "mkfs.erofs",
        package: "erofs-utils",
        purpose: "pack erofs images",
        args: [
          ...compression,
          ...(options.blockSize === undefined ? [] : [`-C${options.blockSize}`]),
          `-T${epoch}`,
          `-U${treeUuid(tree, "erofs")}`,
          "--quiet",
          output,
          folder,
        ],
      }),
    );
  },
};

/** lz4hc is what every kernel with erofs reads; the others need newer ones, and newer tools. */
function chooseCompression(name = "lz4hc", level?: number): string[] {
  if (name === "none") return [];
  if (!["lz4", "lz4hc", "lzma", "deflate", "zstd"].includes(name))
    throw new FlixwrapError("pack-compression", {
      what: "erofs cannot be compressed that way",
      got: name,
      wanted: "lz4hc, lz4, lzma, deflate, zstd, none",
    });
  const chosen = level ?? (name === "lz4hc" ? 12 : undefined);
  return [chosen === undefined ? `-z${name}` : `-z${name},${chosen}`];
}
