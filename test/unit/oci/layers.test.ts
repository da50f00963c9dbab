import { expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { stackLayers } from "../../../src/oci/layers.ts";
import type { ImageLimits } from "../../../src/oci/limits.ts";
import type { Rootfs } from "../../../src/oci/rootfs.ts";
import { readTar } from "../../../src/oci/tar/tar.ts";
import { treeRootfs } from "../../../src/oci/tree.ts";
import { describeTree } from "../../support/describe-tree.ts";
import { layerCorpus } from "../../support/layer-corpus.ts";
import { entry, file, folder, pax, symlink, tar } from "../../support/tar-bytes.ts";

function indexLayers(layers: readonly Buffer[], limits?: ImageLimits): Rootfs {
  const stack = stackLayers(limits);
  for (const [n, layer] of layers.entries())
    stack.apply(readTar(memorySource(layer), "layer"), memorySource(layer), `layer ${n}`);
  return treeRootfs("layers", stack.root);
}

it.each(layerCorpus("/host/victim"))("row $row: $title", ({ layers, outcome }) => {
  if (typeof outcome === "string") {
    expect(() => describeTree(indexLayers(layers))).toThrow(expect.objectContaining({ code: outcome }));
  } else {
    expect(describeTree(indexLayers(layers)).sort()).toEqual([...outcome].sort());
  }
});

it.each<[string, Partial<ImageLimits>, boolean]>([
  ["all that there is", {}, true],
  ["fewer entries", { entries: 3 }, false],
  ["fewer bytes", { bytes: 14 }, false],
  ["fewer names and attributes", { meta: 11 }, false],
])("bounds entries, bytes, names and attributes of all layers together: %s", (_, fewer, isTaken) => {
  const xattr = pax({ "SCHILY.xattr.user.k": Buffer.from("v") });
  const layers = [tar(file("a", "12345"), xattr, file("b", "12345")), tar(file("c", "12345"), symlink("l", "a"))];
  // Five letters of names and a target, and `user.k` with its `v`.
  const index = (): Rootfs => indexLayers(layers, { entries: 4, bytes: 15, meta: 12, steps: 0, ...fewer });
  if (isTaken) expect(describeTree(index())).toHaveLength(4);
  else expect(index).toThrow(expect.objectContaining({ code: "oci-too-large" }));
});

it("follows no links that lead through thousands of folders", () => {
  const links = Array.from({ length: 39 }, (_, n) => [
    pax({ linkpath: `${"d/../".repeat(50)}l${n + 1}` }),
    symlink(`l${n}`, "x"),
  ]);
  const layer = tar(folder("d/"), folder("l39/"), ...links.flat(), file("l0/f", "x"));
  expect(() => indexLayers([layer])).toThrow(expect.objectContaining({ code: "oci-link-loop" }));
  const first = symlink("l", `${"./".repeat(40)}d/.`);
  expect(describeTree(indexLayers([tar(folder("d/"), first, file("l/f", "x"))]))).toContain("f /d/f x");
  const limits = { entries: 9, bytes: 9, meta: 999 };
  const around = [tar(folder("d/"), symlink("l", "d/./."), file("l/f", "x"), file("d/g", "x"), file("l/h", "x"))];
  expect(() => indexLayers(around, { ...limits, steps: 5 })).toThrow(
    expect.objectContaining({ code: "oci-too-large" }),
  );
  expect(describeTree(indexLayers(around, { ...limits, steps: 6 }))).toHaveLength(5);
});

it.each([
  ["a major number beyond twelve bits", 329, "00010000"],
  ["a minor number beyond twenty bits", 337, "04000000"],
  ["a minor number that would run into the field behind it", 337, "80000000ffffffff"],
  ["a negative minor number", 337, "ffffffffffffffff"],
])("refuses a device with %s (found by the fuzzer at run 15,836 of seed 7)", (_, at, value) => {
  const bytes = value.length === 8 ? Buffer.from(`${value.slice(1)}\0`) : Buffer.from(value, "hex");
  const layer = tar(entry({ name: "dev/null", type: "3", patch: [[at, bytes]] }));
  expect(() => indexLayers([layer])).toThrow(/a device number out of range/);
});

it("makes no folder with a marker's name, even where a link leads to one", () => {
  const layer = tar(symlink("l", ".wh.aim"), file("l/f", "x"));
  expect(() => indexLayers([layer])).toThrow(expect.objectContaining({ code: "oci-unsafe-layer" }));
});
