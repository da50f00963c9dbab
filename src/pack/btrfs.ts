import { treeUuid } from "./identity.ts";
import { type Packer, hasMagic } from "./packer.ts";
import { withStagedTree } from "./staged.ts";

/** Small and shrunk to its content; `--compression` needs btrfs-progs 6.13. */
export const btrfs: Packer = {
  kind: "file",
  suffix: ".raw",
  takes: ["compression", "level"],
  recognise: (head) => hasMagic(head, 65_600, "_BHRfS_M"),
  async pack(tree, output, options, context) {
    const { compression, level, epoch = 0 } = options;
    await withStagedTree(tree, "btrfs", epoch, context, (folder, run) =>
      run({
        tool: "mkfs.btrfs",
        package: "btrfs-progs",
        purpose: "pack btrfs images",
        args: [
          ..."--quiet --mixed --metadata single --data single --shrink".split(" "),
          ...(compression === undefined
            ? []
            : ["--compress", level === undefined ? compression : `${compression}:${level}`]),
          ...["--uuid", treeUuid(tree, "btrfs")],
          ...["--rootdir", folder, output],
        ],
        env: { SOURCE_DATE_EPOCH: String(epoch) },
      }),
    );
  },
};
