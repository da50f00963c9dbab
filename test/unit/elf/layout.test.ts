import { describe, expect, it } from "vitest";
import { struct } from "../../../src/elf/layout.ts";
import { Dyn, Ehdr, Phdr, Rela, Shdr, Sym, Verdef, Vernaux, Verneed } from "../../../src/elf/structs.ts";

const little64 = { bits: 64, endian: "little" } as const;
const big32 = { bits: 32, endian: "big" } as const;

describe("struct", () => {
  // sizeof() of <elf.h>'s records.
  it.each([
    ["Ehdr", Ehdr, 52, 64],
    ["Phdr", Phdr, 32, 56],
    ["Shdr", Shdr, 40, 64],
    ["Dyn", Dyn, 8, 16],
    ["Sym", Sym, 16, 24],
    ["Rela", Rela, 12, 24],
    ["Verneed", Verneed, 16, 16],
    ["Vernaux", Vernaux, 16, 16],
    ["Verdef", Verdef, 20, 20],
  ] as const)("%s has the specification's size", (_, record, size32, size64) => {
    expect(record.size({ bits: 32, endian: "little" })).toBe(size32);
    expect(record.size({ bits: 64, endian: "big" })).toBe(size64);
  });

  // offsetof() of <elf.h>: p_flags stands second in ELF64 and seventh in ELF32.
  it("places fields by class", () => {
    expect(Phdr.offsetOf(little64, "flags")).toBe(4);
    expect(Phdr.offsetOf(big32, "flags")).toBe(24);
    expect(Sym.offsetOf(little64, "value")).toBe(8);
    expect(Sym.offsetOf(big32, "value")).toBe(4);
  });

  it("reads and writes by class and byte order", () => {
    const record = struct({ small: "u16", wide: "native" });
    const bytes32 = Uint8Array.of(0x12, 0x34, 0xff, 0xff, 0xff, 0xfe);
    expect(record.read(big32, bytes32)).toEqual({ small: 0x1234, wide: 0xfffffffen });
    const bytes64 = Uint8Array.of(0x34, 0x12, 1, 0, 0, 0, 0, 0, 0, 0x80);
    expect(record.read(little64, bytes64)).toEqual({ small: 0x1234, wide: 0x8000000000000001n });
    expect(record.write(big32, { small: 0x1234, wide: 0xfffffffen })).toEqual(bytes32);
    expect(record.write(little64, { small: 0x1234, wide: 0x8000000000000001n })).toEqual(bytes64);
  });

  it("refuses a value that its field does not hold", () => {
    const record = struct({ small: "u16", wide: "native" });
    expect(() => record.write(big32, { small: 0x10000, wide: 0n })).toThrow(RangeError);
    expect(() => record.write(big32, { small: 0, wide: 1n << 32n })).toThrow(RangeError);
    expect(() => record.write(little64, { small: -1, wide: 0n })).toThrow(RangeError);
  });
});
