import { expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { stackLayers } from "../../../src/oci/layers.ts";
import type { Rootfs } from "../../../src/oci/rootfs.ts";
import { readTar } from "../../../src/oci/tar.ts";
import { treeRootfs } from "../../../src/oci/tree.ts";
import { describeTree } from "../../support/describe-tree.ts";
import { layerCorpus } from "../../support/layer-corpus.ts";
import { file, symlink, tar } from "../../support/tar-bytes.ts";

function indexLayers(layers: readonly Buffer[], limits?: { entries: number; bytes: number }): Rootfs {
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

it("bounds the entries and the bytes of all layers together", () => {
  const layers = [tar(file("a", "12345"), file("b", "12345")), tar(file("c", "12345"))];
  expect(describeTree(indexLayers(layers, { entries: 3, bytes: 15 }))).toHaveLength(3);
  const tooLarge = expect.objectContaining({ code: "oci-too-large" });
  expect(() => indexLayers(layers, { entries: 2, bytes: 15 })).toThrow(tooLarge);
  expect(() => indexLayers(layers, { entries: 3, bytes: 14 })).toThrow(tooLarge);
});

it("makes no folder with a marker's name, even where a link leads to one", () => {
  const layer = tar(symlink("l", ".wh.aim"), file("l/f", "x"));
  expect(() => indexLayers([layer])).toThrow(expect.objectContaining({ code: "oci-unsafe-layer" }));
});
