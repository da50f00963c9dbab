import type { Packer } from "./packer.ts";
import { stageTree } from "./stage.ts";

/** A plain folder: systemd merges those too (`/var/lib/extensions/NAME/`). */
export const folder: Packer = {
  kind: "folder",
  suffix: "",
  takes: [],
  recognise: () => false,
  async pack(tree, output, options, context) {
    const losses = await stageTree(tree, output, options.epoch ?? 0, context);
    if (losses.owners > 0)
      context.emit({
        kind: "warning",
        message: `the folder's ${losses.owners} nodes belong to you; give them to root before the host merges them`,
      });
    if (losses.xattrs > 0)
      context.emit({
        kind: "warning",
        message: `file capabilities of ${losses.xattrs} files are missing in the folder: only root can write them`,
      });
  },
};
