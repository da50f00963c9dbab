import { memorySource } from "../core/bytes.ts";
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

function inodeOf(action: Exclude<Action, { kind: "directory" }>, source: Rootfs): Inode {
  switch (action.kind) {
    case "copy":
      return { type: "file", content: source.open(action.from), ...plainAttributes(action.from.mode) };
    case "patch":
      return {
        type: "file",
        content: overlaySource(source.open(action.from), action.writes, action.size),
        ...plainAttributes(action.from.mode),
      };
    case "write":
      return { type: "file", content: memorySource(action.content), ...plainAttributes(action.mode) };
    case "symlink":
      return { type: "symlink", target: action.target, ...plainAttributes(0o777) };
  }
}
