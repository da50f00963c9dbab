import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { acceptsEntry, readLibraryCache } from "../../../src/loader/library-cache.ts";

interface Row {
  readonly name: string;
  readonly path: string;
  readonly flags: number;
  readonly hwcap?: bigint;
}

/** sysdeps/generic/dl-cache.h, written down a second time; ldconfig itself is asked in the oracle tests. */
function writeCache(rows: readonly Row[], endian: "little" | "big", hwcaps: readonly string[] = []): Buffer {
  const big = endian === "big";
  const texts: Buffer[] = [];
  let at = 48 + rows.length * 24;
  const place = (text: string): number => {
    const offset = at;
    texts.push(Buffer.from(`${text}\0`));
    at += text.length + 1;
    return offset;
  };
  const head = Buffer.alloc(at);
  const u32 = (buffer: Buffer, value: number, offset: number) =>
    big ? buffer.writeUInt32BE(value, offset) : buffer.writeUInt32LE(value, offset);
  head.write("glibc-ld.so.cache1.1", 0, "latin1");
  u32(head, rows.length, 20);
  head[28] = big ? 3 : 2;
  rows.forEach(({ name, path, flags, hwcap = 0n }, index) => {
    const entry = 48 + index * 24;
    u32(head, flags, entry);
    u32(head, place(name), entry + 4);
    u32(head, place(path), entry + 8);
    if (big) head.writeBigUInt64BE(hwcap, entry + 16);
    else head.writeBigUInt64LE(hwcap, entry + 16);
  });
  const names = hwcaps.map(place);
  place("\0".repeat((3 - (at % 4) + 4) % 4));
  u32(head, at, 32);
  const extension = Buffer.alloc(24 + names.length * 4);
  [0xeaa42174, 1, 1, 0, at + 24, names.length * 4, ...names].forEach((value, index) =>
    u32(extension, value, index * 4),
  );
  return Buffer.concat([head, ...texts, extension]);
}

describe.each(["little", "big"] as const)("a cache of %s-endian machines", (endian) => {
  const bytes = writeCache(
    [
      { name: "liba.so.1", path: "/lib/glibc-hwcaps/z15/liba.so.1", flags: 0x0403, hwcap: (1n << 62n) | 1n },
      { name: "liba.so.1", path: "/lib/liba.so.1", flags: 0x0403 },
      { name: "libb.so.1", path: "/lib/z9/libb.so.1", flags: 3, hwcap: 4n },
    ],
    endian,
    ["z14", "z15"],
  );
  const entries = [
    { name: "liba.so.1", path: "/lib/glibc-hwcaps/z15/liba.so.1", flags: 0x0403, hwcaps: "z15", legacyHwcap: 0n },
    { name: "liba.so.1", path: "/lib/liba.so.1", flags: 0x0403, legacyHwcap: 0n },
    { name: "libb.so.1", path: "/lib/z9/libb.so.1", flags: 3, legacyHwcap: 4n },
  ];

  test("is read", () => {
    expect(readLibraryCache(memorySource(bytes), endian)).toEqual(entries);
  });

  test("is none to a loader of the other byte order", () => {
    expect(readLibraryCache(memorySource(bytes), endian === "big" ? "little" : "big")).toBeUndefined();
  });

  test("cut or changed anywhere, it gives entries or nothing, never an error", () => {
    fc.assert(
      fc.property(
        fc.nat(bytes.length),
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 }),
        (length, changes) => {
          const changed = Buffer.from(bytes);
          for (const [at, value] of changes) changed[at] = value;
          const read = readLibraryCache(memorySource(changed.subarray(0, length)), endian);
          expect(read === undefined || read.length <= 3).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });
});

test.each([
  { machine: 62, bits: 64, endian: "little", yes: [0x0303, 1], no: [0x0003, 0x0803] },
  { machine: 3, bits: 32, endian: "little", yes: [0x0003], no: [0x0303] },
  { machine: 183, bits: 64, endian: "little", yes: [0x0a03], no: [0x0003] },
  { machine: 22, bits: 64, endian: "big", yes: [0x0403], no: [0x0303] },
] as const)("machine $machine, $bits bits", ({ yes, no, ...machine }) => {
  expect(yes.filter((flags) => !acceptsEntry(flags, machine))).toEqual([]);
  expect(no.filter((flags) => acceptsEntry(flags, machine))).toEqual([]);
});
