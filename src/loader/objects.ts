import { FlixwrapError } from "../core/errors.ts";
import { type ElfFile, readElf } from "../elf/file.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { type Machine, type Verdict, judgeHeader, judgeObject } from "./header.ts";

/** What opening and checking one file gives. */
export type Opening = ElfFile | Exclude<Verdict, "fits">;

/** The ELF files of a root; each real file is read once, whoever asks. */
export interface Objects {
  /** @throws FlixwrapError `elf-*` for a file that is no ELF file, or a damaged one. */
  read(node: RootNode): ElfFile;
  /** The file as a loader of `wanted` machines takes it. */
  open(node: RootNode, wanted: Machine): Opening;
}

/** `given` may state an object's facts instead of its bytes. */
export function openObjects(rootfs: Rootfs, given: (node: RootNode) => ElfFile | undefined): Objects {
  const files = new Map<string, ElfFile>();
  const openings = new WeakMap<Machine, Map<string, Opening>>();

  const read = (node: RootNode): ElfFile => {
    let elf = files.get(node.identity);
    if (elf === undefined) {
      elf = given(node) ?? readElf(rootfs.open(node), node.path);
      files.set(node.identity, elf);
    }
    return elf;
  };
  const judge = (node: RootNode, wanted: Machine): Opening => {
    if (node.type === "directory") return { defect: "cannot read file data: Is a directory" };
    if (node.type !== "file") return { defect: "not a regular file" };
    const elf = given(node);
    const verdict = elf === undefined ? judgeHeader(rootfs.open(node).read(0, 64), wanted) : judgeObject(elf, wanted);
    if (verdict !== "fits") return verdict;
    try {
      return read(node);
    } catch (error) {
      if (error instanceof FlixwrapError) return { defect: error.facts.what };
      throw error;
    }
  };
  return {
    read,
    open(node, wanted) {
      let known = openings.get(wanted);
      if (known === undefined) openings.set(wanted, (known = new Map()));
      let opening = known.get(node.identity);
      if (opening === undefined) {
        opening = judge(node, wanted);
        known.set(node.identity, opening);
      }
      return opening;
    },
  };
}
