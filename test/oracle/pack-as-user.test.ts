import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { type Format, packers } from "../../src/pack/formats.ts";
import { packTree } from "../../src/pack/pack.ts";
import { hardTree } from "./pack-listing.ts";

/**
 * Tools ask for the real user, which cannot be had back: this file's process is root first and an ordinary user
 * from then on. Formats that an ordinary user cannot make alike say so in docs/pack.md.
 */
const formats: readonly Format[] = ["squashfs"];

test("an ordinary user makes the same bytes as root, owners kept", async () => {
  const folder = mkdtempSync(join(tmpdir(), "pack-user-"));
  // Its later owner must be able to remove it.
  chownSync(folder, 65_534, 65_534);
  try {
    const context = quietContext({ env: { PATH: process.env["PATH"], TMPDIR: folder } });
    const pack = async (name: string) => {
      const images: (readonly [Format, string | undefined])[] = [];
      for (const format of formats) {
        expect(packers[format].kind).toBe("file");
        const output = join(folder, `${name}-${format}.raw`);
        images.push([format, (await packTree(hardTree(), { format, output }, context)).sha256]);
      }
      return images;
    };
    const byRoot = await pack("root");
    process.setgroups!([]);
    process.setgid!(65_534);
    process.setuid!(65_534);
    expect(await pack("user")).toEqual(byRoot);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
