import { type ByteSource, memorySource } from "../core/bytes.ts";
import { baseName, type ExtPath, parentOf } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { emptyFolder, type FolderInode, type Inode, plainAttributes, treeRootfs } from "../oci/tree.ts";
import { overlaySource } from "./overlay.ts";
import type { Action, Plan } from "./plan.ts";

/** The planned extension as a root file system: what a host would see of it, with the bytes that will be shipped. */
export function planRootfs(plan: Plan): Rootfs {
  const root = emptyFolder();
  const folders = new Map<ExtPath, FolderInode>([["/" as ExtPath, root]]);
  const folderAt = (path: ExtPath): FolderInode => {
    const known = folders.get(path);
    if (known !== undefined) return known;
    const folder = emptyFolder();
    folders.set(path, folder);
    folderAt(parentOf(path)).children.set(baseName(path), folder);
    return folder;
  };
  for (const action of plan.actions) {
    if (action.kind === "directory") folderAt(action.to);
    else folderAt(parentOf(action.to)).children.set(baseName(action.to), inodeOf(action, plan.source));
  }
  return treeRootfs("the planned extension", root);
}

// oxlint-disable-next-line typescript/consistent-return -- it does not see that the switch is exhaustive; tsc does
function inodeOf(action: Exclude<Action, { kind: "directory" }>, source: Rootfs): Inode {
  const file = (mode: number, size: number, open: () => ByteSource): Inode => ({
    type: "file",
    size,
    open,
    ...plainAttributes(mode),
  });
  switch (action.kind) {
    case "copy":
      return file(action.from.mode, action.from.size, () => source.open(action.from));
    case "patch":
      return file(action.from.mode, action.size, () =>
        overlaySource(source.open(action.from), action.writes, action.size),
      );
    case "write":
      return file(action.mode, action.content.length, () => memorySource(action.content));
    case "symlink":
      return { type: "symlink", target: action.target, ...plainAttributes(0o777) };
  }
}
