import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { quietContext } from "../../src/core/context.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { writeFolder } from "../../src/oci/folder-writer.ts";
import { stackLayers } from "../../src/oci/layers.ts";
import { readTar } from "../../src/oci/tar/tar.ts";
import { treeRootfs } from "../../src/oci/tree.ts";
import { describeTree } from "../support/describe-tree.ts";
import { layerCorpus } from "../support/layer-corpus.ts";
import { file, folder, tar } from "../support/tar-bytes.ts";

const temporary = mkdtempSync(join(tmpdir(), "oci-corpus-"));
const victim = join(temporary, "victim");
const evil = join(temporary, "root-evil");
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

mkdirSync(victim, { mode: 0o750 });
mkdirSync(evil);
writeFileSync(join(victim, "hello"), "untouched", { mode: 0o640 });
writeFileSync(join(evil, "secret"), "untouched");
/** Everything of the folders beside the root that an escape would change. */
const canary = (): unknown =>
  [temporary, victim, evil].map((place) => [
    lstatSync(place).mode,
    readdirSync(place),
    ...readdirSync(place, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => {
        const { ino, mode, nlink, mtimeMs, uid } = lstatSync(join(place, name));
        return [name, ino, mode, nlink, mtimeMs, uid, readFileSync(join(place, name), "utf8")];
      }),
  ]);
const untouched = canary();
const root = join(temporary, "root");
const context = quietContext({ env: { PATH: "/usr/bin:/bin" } });
const isRoot = userInfo().uid === 0;

async function unpack(layers: readonly Buffer[]): Promise<void> {
  const stack = stackLayers();
  for (const layer of layers) stack.apply(readTar(memorySource(layer), "layer"), memorySource(layer), "layer");
  await writeFolder(treeRootfs("layers", stack.root), root, context);
}

beforeEach(() => rmSync(root, { recursive: true, force: true }));

describe("the folder made of hostile and odd layers", () => {
  it.each(layerCorpus(victim))("row $row: $title", async ({ layers, outcome }) => {
    if (typeof outcome === "string") {
      await expect(unpack(layers)).rejects.toMatchObject({ code: outcome });
    } else {
      await unpack(layers);
      const lines = describeTree(openFolder(root));
      const wanted = isRoot ? outcome : outcome.filter((line) => !/^[cb] /.test(line));
      expect(lines.sort()).toEqual([...wanted].sort());
      rmSync(root, { recursive: true, force: true });
    }
    expect(canary()).toEqual(untouched);
  });
});

it.runIf(isRoot)("row 90: nobody else can enter the folder while it is written", async () => {
  const bin = mkdtempSync(join(tmpdir(), "oci-tar-"));
  // tar's last word is the folder; another user tries to look and to make a link in it.
  const intruder = "setpriv --reuid 65534 --regid 65534 --clear-groups";
  const script = `#!/bin/sh
for last; do :; done
{ stat -c %a "$last"; ${intruder} ls "$last"; ${intruder} ln -s ${victim} "$last/d"; } > ${bin}/seen 2>&1
exec /usr/bin/tar "$@"
`;
  writeFileSync(join(bin, "tar"), script, { mode: 0o755 });
  const layer = memorySource(tar(folder("./", { mode: 0o777 }), folder("d/"), file("d/hello", "changed")));
  const stack = stackLayers();
  stack.apply(readTar(layer, "layer"), layer, "layer");
  await writeFolder(treeRootfs("layers", stack.root), root, quietContext({ env: { PATH: `${bin}:/usr/bin:/bin` } }));
  const seen = readFileSync(join(bin, "seen"), "utf8");
  expect(seen).toMatch(/^700\nls: .*Permission denied\nln: .*Permission denied\n$/);
  expect(lstatSync(join(root, "d")).isDirectory()).toBe(true);
  rmSync(bin, { recursive: true });
  rmSync(root, { recursive: true });
  expect(canary()).toEqual(untouched);
});
