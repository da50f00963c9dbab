import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { type Command, runCommand } from "../host/command.ts";
import { withTempFolder } from "../host/temp.ts";
import { currentUser } from "../host/user.ts";
import { stageTree } from "./stage.ts";

/** Runs a packer's tool as whoever sees the staged folder's owners as they shall be. */
export type RunTool = (command: Command) => Promise<void>;

/**
 * For tools that want a folder: the tree as one, below TMPDIR. An ordinary user's tools run in a user namespace
 * where that user is root: files are root's there, and file capabilities can be given.
 * @throws FlixwrapError `pack-needs-root` when other owners are to be kept.
 */
export async function withStagedTree(
  tree: ExtensionTree,
  format: string,
  epoch: number,
  context: Context,
  work: (folder: string, run: RunTool) => Promise<void>,
): Promise<void> {
  const { isRoot } = currentUser();
  const foreign = [...tree.nodes].filter(([, { uid, gid }]) => uid !== 0 || gid !== 0);
  if (!isRoot && foreign.length > 0)
    throw new FlixwrapError("pack-needs-root", {
      what: `only root can keep owners in ${format}`,
      got: `${foreign.length} paths of other owners, the first ${foreign[0]![0]}`,
      hint: "use squashfs or tar, or leave out --keep-owners",
    });
  const run: RunTool = async (command) => {
    const mapped = isRoot
      ? command
      : { ...command, tool: "unshare", args: ["--map-root-user", command.tool, ...command.args] };
    await runCommand(mapped, context);
  };
  await withTempFolder(context, async (temporary) => {
    const folder = join(await mkdtemp(join(temporary, "stage-")), "tree");
    await stageTree(tree, folder, epoch, context, "namespace");
    await work(folder, run);
  });
}
