import { encodeName } from "../core/names.ts";
import { PT } from "./constants.ts";
import { refuseNul, type Draft } from "./draft.ts";
import type { Block } from "./place.ts";
import { refused } from "./problems.ts";

/** PT_INTERP's string: NUL-terminated, and mapped (it becomes the loader's name in the link map). */
export function interpreterBlock(draft: Draft, interpreter: string): Block {
  const { file } = draft;
  const segment = draft.segments.find((one) => one.type === PT.INTERP);
  if (segment === undefined || file.interpreter === undefined) {
    throw refused("elf-no-interpreter", file, "no interpreter to replace", {
      hint: "statically linked programs and plain libraries have none",
    });
  }
  refuseNul(file, interpreter, "interpreter");
  const bytes = Buffer.concat([encodeName(interpreter), Buffer.alloc(1)]);
  // fs/binfmt_elf.c load_elf_binary: 2 to PATH_MAX bytes, the NUL included.
  if (bytes.length < 2 || bytes.length > 4096) {
    const got = `${bytes.length - 1} bytes`;
    throw refused("elf-value", file, "interpreter has no usable length", { got, wanted: "1 to 4095 bytes" });
  }
  const { addr, offset: at } = { addr: segment.vaddr, offset: segment.offset };
  const section = draft.sections.find((one) => one.addr === addr && one.offset === at && one.size === segment.filesz);
  return {
    current: { offset: Number(segment.offset), length: Number(segment.filesz) },
    bytes,
    // Libraries that are programs, too, define symbols in .interp (libcap's __execable_dl_loader).
    staysBehind: true,
    moveTo(offset, address) {
      segment.offset = BigInt(offset);
      segment.vaddr = address;
      segment.paddr = address;
      segment.filesz = BigInt(bytes.length);
      segment.memsz = segment.filesz;
      if (section === undefined) return;
      section.offset = segment.offset;
      section.addr = address;
      section.size = segment.filesz;
    },
  };
}
