import type { ElfFile } from "../elf/file.ts";

/** What a loader says of a file before mapping it: fine, built for something else, or broken (why). */
export type Verdict = "fits" | "foreign" | { readonly defect: string };

/** The kind of object a loader can map. */
export type Machine = Pick<ElfFile, "bits" | "endian" | "machine">;

/**
 * Judges the first 64 bytes of a file in the order of glibc's open_verify (elf/dl-load.c); the texts are its own.
 * musl looks at fewer fields, but what it lets pass here it cannot relocate.
 */
export function judgeHeader(header: Uint8Array, wanted: Machine): Verdict {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const size = wanted.bits === 64 ? 64 : 52;
  if (header.length < size) return { defect: "file too short" };
  if (view.getUint32(0) !== 0x7f454c46) return { defect: "invalid ELF header" };
  if (view.getUint8(4) !== (wanted.bits === 64 ? 2 : 1)) return "foreign";
  const little = wanted.endian === "little";
  if (view.getUint8(5) !== (little ? 1 : 2)) {
    return { defect: `ELF file data encoding not ${wanted.endian}-endian` };
  }
  if (view.getUint8(6) !== 1) return { defect: "ELF file version ident does not match current one" };
  const osAbi = view.getUint8(7);
  if (osAbi !== 0 && osAbi !== 3) return { defect: "ELF file OS ABI invalid" };
  if (view.getUint8(8) !== 0 && osAbi === 0) return { defect: "ELF file ABI version invalid" };
  if (header.subarray(9, 16).some((byte) => byte !== 0)) return { defect: "nonzero padding in e_ident" };
  if (view.getUint32(20, little) !== 1) return { defect: "ELF file version does not match current one" };
  if (view.getUint16(18, little) !== wanted.machine) return "foreign";
  const type = view.getUint16(16, little);
  if (type !== 2 && type !== 3) return { defect: "only ET_DYN and ET_EXEC can be loaded" };
  if (view.getUint16(wanted.bits === 64 ? 54 : 42, little) !== (wanted.bits === 64 ? 56 : 32)) {
    return { defect: "ELF file's phentsize not the expected size" };
  }
  return "fits";
}

/** The same judgement of an object whose facts are given, not read. */
export function judgeObject(elf: ElfFile, wanted: Machine): Verdict {
  if (elf.bits !== wanted.bits) return "foreign";
  if (elf.endian !== wanted.endian) return { defect: `ELF file data encoding not ${wanted.endian}-endian` };
  if (elf.machine !== wanted.machine) return "foreign";
  return elf.type === 2 || elf.type === 3 ? "fits" : { defect: "only ET_DYN and ET_EXEC can be loaded" };
}
