import { type ExtPath, extPath, rootPath } from "../../../src/core/paths.ts";
import type { Action, Plan } from "../../../src/extension/plan.ts";
import { type MemoryEntry, memoryRootfs } from "../../../src/oci/memory-rootfs.ts";

/** A plan that copies every entry of a made-up root to its own path, then does `more`. */
export function copyPlan(entries: Readonly<Record<string, MemoryEntry>>, more: readonly Action[] = []): Plan {
  const source = memoryRootfs(entries);
  const copies = Object.keys(entries).map((path): Action => {
    return { kind: "copy", from: source.lookup(rootPath(path))!, to: extPath(path), why: "copied" };
  });
  return { source, actions: [...copies, ...more], warnings: [] };
}

export const write = (to: string, content: string | Uint8Array, mode = 0o644): Action => ({
  kind: "write",
  to: extPath(to),
  content: Buffer.from(content as string),
  mode,
  why: "written",
});

export const link = (to: string, target: string): Action => ({
  kind: "symlink",
  to: extPath(to),
  target,
  why: "linked",
});

export const folder = (to: string, mode: number): Action => ({
  kind: "directory",
  to: to as ExtPath,
  mode,
  why: "made",
});
