import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import elfy from "elfy";
import { beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import {
  readDefinedVersions,
  readDynamicSymbols,
  readElf,
  readNeededVersions,
  readNotes,
  readSections,
  buildIdOf,
  type ElfFile,
} from "../../src/elf/index.ts";
import { planEdits } from "../../src/elf/index.ts";
import { Dyn, Ehdr, Phdr, Shdr, Sym } from "../../src/elf/structs.ts";
import { listElfFiles, sample } from "../corpus/elf-files.mjs";

/** What we read of a sample of this machine's own files, beside readelf and elfy. `FLIXWRAP_CORPUS=100000` takes all of them. */
const count = Number(process.env["FLIXWRAP_CORPUS"] ?? 60);
let files: { path: string; bytes: Uint8Array; elf: ElfFile }[];

beforeAll(() => {
  files = sample(listElfFiles(["/usr/bin", "/usr/lib"], { largest: 20e6, every: true }), count, 1).map((path) => {
    const bytes = readFileSync(path);
    return { path, bytes, elf: readElf(memorySource(bytes), path) };
  });
});

const readelf = (...args: string[]) =>
  execFileSync("readelf", args, {
    encoding: "utf8",
    maxBuffer: 1 << 30,
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, LC_ALL: "C.UTF-8" },
  });
const number = (text: string) => BigInt(text.startsWith("0x") ? text : `0x${text}`);

describe("as readelf", () => {
  it("headers and segments", () => {
    for (const { path, elf } of files) {
      const text = readelf("-hlW", path);
      expect(text).toContain(elf.bits === 64 ? "ELF64" : "ELF32");
      expect(text).toMatch(new RegExp(`Number of program headers:\\s+${elf.segments.length}\\n`));
      expect(text).toMatch(new RegExp(`Entry point address:\\s+0x${elf.header.entry.toString(16)}\\n`));
      const rows = [
        ...text.matchAll(
          /^ {2}\S+\s+0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) (...) 0x(\w+)$|^ {2}\S+\s+0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) (...) 0$/gm,
        ),
      ].map((row) => row.slice(1).filter((cell) => cell !== undefined));
      const flags = (bits: number) => `${bits & 4 ? "R" : " "}${bits & 2 ? "W" : " "}${bits & 1 ? "E" : " "}`;
      expect(
        rows.map(([offset, vaddr, paddr, filesz, memsz, bits]) => [
          ...[offset, vaddr, paddr, filesz, memsz].map((cell) => number(cell!)),
          bits,
        ]),
      ).toEqual(elf.segments.map((one) => [one.offset, one.vaddr, one.paddr, one.filesz, one.memsz, flags(one.flags)]));
      expect(/Requesting program interpreter: (.*)\]/.exec(text)?.[1]).toBe(elf.interpreter);
    }
  });

  it("the dynamic table", () => {
    for (const { path, elf } of files) {
      const text = readelf("-dW", path);
      const tags = [...text.matchAll(/^ 0x(\w+) \((.*?)\)/gm)].map(([, tag]) => Number(number(tag!)));
      expect(tags.at(-1) ?? 0).toBe(0);
      expect(tags.slice(0, -1)).toEqual(elf.dynamic.map(({ tag }) => tag));
      const strings = (name: string) =>
        [...text.matchAll(new RegExp(`\\(${name}\\)\\s+.*?\\[(.*)\\]`, "g"))].map(([, value]) => value);
      expect(strings("NEEDED")).toEqual(elf.needed);
      expect(strings("SONAME")).toEqual(elf.soname === undefined ? [] : [elf.soname]);
      expect(strings("RUNPATH").at(-1)).toBe(elf.runpath);
      expect(strings("RPATH").at(-1)).toBe(elf.rpath);
    }
  });

  it("versions needed and defined", () => {
    for (const { path, elf } of files) {
      const text = readelf("-VW", path);
      const needs = text.slice(text.indexOf("Version needs section"));
      const needed = text.includes("Version needs section")
        ? [...needs.matchAll(/File: (.*?) {2}Cnt|Name: (\S+) {2}Flags: (.*?) {2}Version: (\d+)/g)]
        : [];
      const ours = readNeededVersions(elf).flatMap(({ file, versions }) => [
        [file],
        ...versions.map(({ name, weak, index }) => [name, weak, index]),
      ]);
      expect(
        needed.map(([, file, name, flags, index]) =>
          file === undefined ? [name, flags!.includes("WEAK"), Number(index)] : [file],
        ),
      ).toEqual(ours);
      const start = text.indexOf("Version definition section");
      const defined =
        start < 0
          ? []
          : [
              ...text
                .slice(
                  start,
                  text.includes("Version needs section") && text.indexOf("Version needs section") > start
                    ? text.indexOf("Version needs section")
                    : undefined,
                )
                .matchAll(/Index: (\d+) {2}Cnt: \d+ {2}Name: (\S+)/g),
            ];
      expect(defined.map(([, index, name]) => [name, Number(index)])).toEqual(
        readDefinedVersions(elf).map(({ name, index }) => [name, index]),
      );
    }
  });

  it("dynamic symbols, though by the hash tables", () => {
    for (const { path, elf } of files) {
      const text = readelf("--dyn-syms", "-W", path);
      const rows = [
        ...text.matchAll(/^ *[1-9]\d*: (\w+) +(\w+) (\w+) +(?:\w+|<.*>: \d+) +\w+ +(?:\[.*?\] +)?(\w+) ?([^@\n]*)/gm),
      ].map(([, value, , , section, name]) => [number(value!), section !== "UND", name]);
      const ours = elf.isDynamic
        ? readDynamicSymbols(elf).map(({ value, defined, name, type }) => [
            value,
            defined,
            // Of a character beyond ASCII (Go: "net.readProtocols·f") readelf 2.40 prints the first byte alone.
            type === 3 ? "" : name.replace(/\P{ASCII}/gu, "\ufffd"),
          ])
        : [];
      // DT_GNU_HASH knows nothing of undefined symbols behind its last: there are none in files as linkers write them.
      expect(ours.length === 0 ? [] : rows.filter((_, index) => index < ours.length)).toEqual(ours);
    }
  });

  it("build-ids", () => {
    for (const { path, elf } of files) {
      expect(/Build ID: (\w+)/.exec(readelf("-nW", path))?.[1]).toBe(buildIdOf(readNotes(elf)));
    }
  });
});

it("as elfy, where it is right", () => {
  for (const { bytes, elf } of files) {
    // elfy fails on files without sections and reads some 64-bit section fields at wrong places.
    if (elf.header.shnum === 0 || elf.bits !== 64) continue;
    const theirs = elfy.parse(Buffer.from(bytes));
    expect(theirs.body.programs.map((one) => [one.offset, one.vaddr, one.filesz, one.memsz].map(BigInt))).toEqual(
      elf.segments.map((one) => [one.offset, one.vaddr, one.filesz, one.memsz]),
    );
  }
});

describe("written back", () => {
  it("every record is byte for byte what it was", () => {
    for (const { bytes, elf } of files) {
      const same = (written: readonly Uint8Array[], at: number) => {
        const all = Buffer.concat(written);
        expect(Buffer.compare(all, bytes.subarray(at, at + all.length))).toBe(0);
      };
      same([Ehdr.write(elf, elf.header)], 0);
      same(
        elf.segments.map((one) => Phdr.write(elf, one)),
        Number(elf.header.phoff),
      );
      const sections = readSections(elf);
      same(
        sections.map((one) => Shdr.write(elf, one)),
        Number(elf.header.shoff),
      );
      if (elf.dynamicRange !== undefined) {
        const { offset, length } = elf.dynamicRange;
        same(
          Dyn.readAll(elf, bytes.subarray(offset, offset + length)).map((one) => Dyn.write(elf, one)),
          offset,
        );
      }
      for (const { type, offset, size } of sections) {
        if (type !== 11) continue;
        const [start, end] = [Number(offset), Number(offset + size)];
        same(
          Sym.readAll(elf, bytes.subarray(start, end)).map((one) => Sym.write(elf, one)),
          start,
        );
      }
    }
  });

  it("an edit to the values that are there writes nothing", () => {
    for (const { elf } of files) {
      const { interpreter, soname, runpath, rpath } = elf;
      const patch = planEdits(elf, {
        ...(interpreter === undefined ? {} : { interpreter }),
        ...(soname === undefined ? {} : { soname }),
        ...(runpath === undefined && rpath === undefined
          ? {}
          : {
              runPath: runpath === undefined ? { kind: "rpath", value: rpath! } : { kind: "runpath", value: runpath },
            }),
        noDefaultLib: elf.noDefaultLib,
        needed: { add: elf.needed },
      });
      expect(patch).toMatchObject({ writes: [], changes: [], growth: "none", size: elf.source.size });
    }
  });
});
