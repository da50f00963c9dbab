import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { buildTree } from "../extension/tree.ts";
import { planWhole } from "../extension/folder-plan.ts";
import { type ImageFile, packTree } from "../pack/pack.ts";
import { openExtension } from "./open.ts";
import { releaseName } from "./release-name.ts";

/**
 * An extension's /usr and /opt as a folder, without a mount. Owners and file capabilities are given as far as the user
 * may; what else stands in it, and device nodes, are no part of an extension.
 * @throws FlixwrapError `pack-no-image`, `pack-damaged-image`, `host-output-exists`, `extension-node-type`.
 */
export async function unpackExtension(file: string, output: string | undefined, context: Context): Promise<ImageFile> {
  const opened = await openExtension(file, context);
  try {
    const name = releaseName(opened);
    const tree = buildTree(planWhole(opened.rootfs), { name, ownership: "keep", allowSuid: true });
    return await packTree(tree, { format: "dir", ...defined({ output }) }, context);
  } finally {
    opened.close();
  }
}
