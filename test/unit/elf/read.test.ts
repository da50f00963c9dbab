import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import type { FlixwrapError } from "../../../src/core/errors.ts";
import { isElf, readElf, readNeededVersions, readSections } from "../../../src/elf/index.ts";
import { buildElf, type ElfShape } from "./build-elf.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "flixwrap-elf-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const formats = [
  { bits: 32, endian: "little", machine: 3 },
  { bits: 32, endian: "big", machine: 8 },
  { bits: 64, endian: "little", machine: 62 },
  { bits: 64, endian: "big", machine: 22 },
] as const;

const read = (bytes: Uint8Array) => readElf(memorySource(bytes), "test.elf");

describe.each(formats)("a $bits-bit $endian-endian file", (format) => {
  const shape: ElfShape = {
    ...format,
    interpreter: "/lib/ld.so.1",
    needed: ["liba.so.1", "libb.so"],
    soname: "libself.so.2",
    runpath: "/opt/lib:$ORIGIN",
    version: ["liba.so.1", "A_1.0"],
  };

  it("is read as readelf reads it", () => {
    const path = join(folder, `${format.bits}-${format.endian}`);
    writeFileSync(path, buildElf(shape));
    const elf = read(buildElf(shape));
    const text = execFileSync("readelf", ["-hldVW", path], { encoding: "utf8" });
    expect(text).toContain(`Requesting program interpreter: ${elf.interpreter}`);
    expect([...text.matchAll(/\(NEEDED\)\s+Shared library: \[(.*)\]/g)].map(([, name]) => name)).toEqual(elf.needed);
    expect(text).toMatch(new RegExp(`SONAME.*\\[${elf.soname}\\]`));
    expect(text).toContain(`Library runpath: [${elf.runpath}]`);
    const [versions] = readNeededVersions(elf);
    expect(text).toContain(`File: ${versions?.file}`);
    expect(text).toContain(`Name: ${versions?.versions[0]?.name}`);
    expect(text).toContain(format.endian === "big" ? "big endian" : "little endian");
    expect(text).toContain(`ELF${format.bits}`);
    expect(elf).toMatchObject({ soname: "libself.so.2", needed: ["liba.so.1", "libb.so"], noDefaultLib: false });
  });

  it("is read without section headers", () => {
    const elf = read(buildElf({ ...shape, sections: false }));
    expect(elf).toMatchObject({ needed: ["liba.so.1", "libb.so"], runpath: "/opt/lib:$ORIGIN" });
    expect(readSections(elf)).toEqual([]);
  });

  it("is read with more sections than e_shnum counts", () => {
    const bytes = buildElf({ ...shape, emptySections: 0xff00 });
    const path = join(folder, "sections");
    writeFileSync(path, bytes);
    const sections = readSections(read(bytes));
    expect(sections.length).toBeGreaterThan(0xff00);
    expect(execFileSync("readelf", ["-hW", path], { encoding: "utf8" })).toContain(`0 (${sections.length})`);
  });

  it("is read with more segments than e_phnum counts", () => {
    const elf = read(buildElf({ ...shape, emptySegments: 0xffff }));
    expect(elf.header.phnum).toBe(0xffff);
    expect(elf.segments).toHaveLength(0xffff + 5);
  });
});

describe("a file that is no good", () => {
  const good = () => buildElf({ bits: 64, endian: "little", interpreter: "/lib/ld.so", needed: ["liba.so"] });
  const broken = (at: number, ...bytes: number[]) => {
    const file = good();
    file.set(bytes, at);
    return file;
  };
  // Offsets are those of Elf64_Ehdr: e_phoff 32, e_phentsize 54.
  it.each<[string, Uint8Array, string, string]>([
    ["text", Buffer.from("#!/bin/sh\n"), "elf-not-elf", "not an ELF file"],
    ["nothing", new Uint8Array(), "elf-not-elf", "not an ELF file"],
    ["its first four bytes", good().subarray(0, 4), "elf-malformed", "ELF header out of bounds"],
    ["an unknown class", broken(4, 3), "elf-malformed", "at byte 0x4: got 3, wanted 1 or 2"],
    ["an unknown byte order", broken(5, 0), "elf-malformed", "at byte 0x5: got 0, wanted 1 or 2"],
    ["a half header", good().subarray(0, 40), "elf-malformed", "ELF header out of bounds"],
    ["headers beyond its end", broken(32, 0xff, 0xff, 0xff), "elf-malformed", "program header table out of bounds"],
    ["headers of a strange size", broken(54, 57), "elf-malformed", "got 57, wanted 56"],
    ["half its bytes", good().subarray(0, 400), "elf-malformed", "out of bounds"],
  ])("%s is told with its offset", (_, bytes, code, text) => {
    let error: FlixwrapError | undefined;
    try {
      read(bytes);
    } catch (caught) {
      error = caught as FlixwrapError;
    }
    expect(error?.code).toBe(code);
    expect(error?.message).toContain("test.elf");
    expect(error?.message).toContain(text);
  });

  it("is recognised by its magic alone", () => {
    expect(isElf(memorySource(good()))).toBe(true);
    expect(isElf(memorySource(Buffer.from("\x7fEL")))).toBe(false);
    expect(isElf(memorySource(Buffer.from("#!/bin/sh")))).toBe(false);
  });
});

describe("reading", () => {
  it("touches only headers and the strings they name", () => {
    const bytes = buildElf({ bits: 64, endian: "little", needed: ["liba.so"] });
    const large = new Uint8Array(50_000_000);
    large.set(bytes);
    let taken = 0;
    const source = memorySource(large);
    const counting = {
      ...source,
      read(offset: number, length: number) {
        taken += length;
        return source.read(offset, length);
      },
    };
    expect(readElf(counting, "large").needed).toEqual(["liba.so"]);
    // In one piece of it.
    expect(taken).toBeLessThanOrEqual(16_384);
    expect(readElf(counting, "large").needed).toEqual(["liba.so"]);
    expect(taken).toBeLessThanOrEqual(16_384);
  });

  it("keeps addresses beyond 2^53", () => {
    const bytes = buildElf({
      bits: 64,
      endian: "little",
      dynamic: [{ tag: 0x6000_0001, value: 0xffff_ffff_8100_0001n }],
    });
    expect(read(bytes).dynamic[0]).toEqual({ tag: 0x6000_0001, value: 0xffff_ffff_8100_0001n });
  });
});
