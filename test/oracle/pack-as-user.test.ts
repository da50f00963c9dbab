import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import type { ExtensionTree } from "../../src/extension/tree.ts";
import { tryExtensions } from "../../src/image/try.ts";
import type { Format } from "../../src/pack/formats.ts";
import { packTree } from "../../src/pack/pack.ts";
import { hardTree } from "./pack-listing.ts";

/**
 * Tools ask for the real user, which cannot be had back: this file's process is root first and an ordinary user
 * from then on. Formats that an ordinary user cannot make alike say so in docs/pack.md.
 */
const keepers: readonly Format[] = ["squashfs", "tar", "ddi"];
const formats: readonly Format[] = [...keepers, "erofs", "ext4", "ext2"];

/** All root's, capabilities and setuid bits included. */
function rootsTree(): ExtensionTree {
  const tree = hardTree();
  return { ...tree, nodes: new Map([...tree.nodes].map(([path, node]) => [path, { ...node, uid: 0, gid: 0 }])) };
}

test("an ordinary user makes the same bytes as root, and merges them for a trial", async () => {
  const folder = mkdtempSync(join(tmpdir(), "pack-user-"));
  // Its later owner must be able to remove it.
  chownSync(folder, 65_534, 65_534);
  try {
    const context = quietContext({ env: { PATH: process.env["PATH"], TMPDIR: folder } });
    const pack = async (name: string) => {
      const images: (readonly [string, string | undefined])[] = [];
      const add = async (tree: ExtensionTree, format: Format, what: string) => {
        const output = join(folder, `${name}-${what}-${format}.raw`);
        images.push([`${format}, ${what}`, (await packTree(tree, { format, output }, context)).sha256]);
      };
      for (const format of keepers) await add(hardTree(), format, "owners kept");
      for (const format of formats) await add(rootsTree(), format, "all root");
      return images;
    };
    const byRoot = await pack("root");
    process.setgroups!([]);
    process.setgid!(65_534);
    process.setuid!(65_534);
    expect(await pack("user")).toEqual(byRoot);
    const output = join(folder, "refused.raw");
    await expect(packTree(hardTree(), { format: "erofs", output }, context)).rejects.toMatchObject({
      code: "pack-needs-root",
    });
    const image = join(folder, "user-all root-squashfs.raw");
    const command = ["cat", "/usr/bin/cap"];
    const run = await tryExtensions({ extensions: [image], command }, context);
    expect([run.status, run.stdout, run.stderr]).toEqual([0, "capable", ""]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
