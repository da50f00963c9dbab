import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { FlixwrapError } from "../../../src/core/errors.ts";
import {
  buildIdOf,
  dlopenEntriesOf,
  findDynamicSymbol,
  findString,
  matchStrings,
  gnuPropertiesOf,
  planEdits,
  readDefinedVersions,
  readDynamicSymbols,
  readElf,
  readNeededVersions,
  readNotes,
  readSections,
  type ElfEdits,
  type ElfFile,
} from "../../../src/elf/index.ts";
import { inTime } from "../../support/in-time.ts";
import { generator, type Random } from "../../support/random.ts";
import { buildElf } from "./build-elf.ts";
import { applyPatch } from "./patched.ts";

/**
 * Damaged files give a typed error or a result, quickly. A short run belongs to the tests;
 * `FLIXWRAP_FUZZ_RUNS=1000000 npx vitest run test/unit/elf/fuzz.test.ts` is the long one. The seed decides everything.
 */
const runs = Number(process.env["FLIXWRAP_FUZZ_RUNS"] ?? 12_000);
const seed = Number(process.env["FLIXWRAP_FUZZ_SEED"] ?? 1);
/** Of the processor's milliseconds, whoever else works on the machine. */
const slowest = 100;
const largest = 512 << 20;

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "flixwrap-fuzz-"))));
afterAll(() => rmSync(folder, { recursive: true }));

function seeds(): Uint8Array[] {
  const made = ([32, 64] as const).flatMap((bits) =>
    (["little", "big"] as const).map((endian) =>
      buildElf({
        bits,
        endian,
        interpreter: "/lib/ld.so.1",
        needed: ["liba.so.1", "libb.so"],
        soname: "libself.so.2",
        runpath: "/opt/lib",
        version: ["liba.so.1", "A_1.0"],
      }),
    ),
  );
  const gcc = (name: string, source: string, ...args: string[]) => {
    writeFileSync(join(folder, "source.c"), source);
    execFileSync("gcc", ["-s", "-o", name, "source.c", ...args], { cwd: folder });
    return readFileSync(join(folder, name));
  };
  writeFileSync(join(folder, "map"), "V1 { global: one; local: *; }; V2 { global: two; } V1;\n");
  const program = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n';
  const library = "int one(void) { return 1; }\nint two(void) { return 2; }\n";
  return [
    ...made,
    buildElf({ bits: 64, endian: "little", interpreter: "/lib/ld.so.1", needed: ["liba.so"], sections: false }),
    gcc("pie", program),
    gcc("no-pie", program, "-no-pie", "-Wl,--hash-style=both", "-Wl,-z,noseparate-code"),
    gcc("lld", program, "-fuse-ld=lld"),
    gcc("library.so", library, "-shared", "-fPIC", "-Wl,--version-script=map", "-Wl,-soname,library.so"),
  ];
}

const interesting = [0, 1, 2, 4, 8, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff];

/** Places where damage tells: the headers, and what the program headers and the dynamic table point to. */
function hotSpots(bytes: Uint8Array): [start: number, length: number][] {
  const elf = readElf(memorySource(bytes), "seed");
  const sections = readSections(elf);
  return [
    [0, 64],
    [Number(elf.header.phoff), elf.segments.length * 56],
    ...elf.segments
      .filter(({ filesz }) => filesz > 0n && filesz < 4096n)
      .map(({ offset, filesz }): [number, number] => [Number(offset), Number(filesz)]),
    ...(sections.length === 0 ? [] : [[Number(elf.header.shoff), sections.length * 64] as [number, number]]),
    ...sections
      .filter(
        ({ type, size }) =>
          [3, 5, 6, 7, 11, 0x6ffffff6, 0x6ffffffd, 0x6ffffffe, 0x6fffffff].includes(type) && size > 0n,
      )
      .map(({ offset, size }): [number, number] => [Number(offset), Number(size)]),
  ];
}

function mutate(bytes: Uint8Array, spots: readonly [number, number][], random: Random): Uint8Array {
  let copy = bytes.slice();
  for (let count = 1 + random(6); count > 0; count--) {
    const [start, length] = random(8) === 0 ? [0, copy.length] : spots[random(spots.length)]!;
    const at = Math.min(start + random(Math.max(1, length)), copy.length - 1);
    const view = new DataView(copy.buffer);
    const kind = random(10);
    if (kind < 3) copy[at] = random(256);
    else if (kind < 5) copy[at]! ^= 1 << random(8);
    else if (kind < 8 && at + 4 <= copy.length)
      view.setUint32(at & ~3, interesting[random(interesting.length)]!, random(2) === 0);
    else if (kind === 8) copy.copyWithin(at, random(copy.length), random(copy.length));
    else if (random(8) === 0) copy = copy.slice(0, 1 + random(copy.length));
    if (copy.length === 0) return copy;
  }
  return copy;
}

const editsOf = (random: Random): ElfEdits => {
  const text = (length: number) => "/".padEnd(1 + random(length), "abc/");
  const all: ElfEdits = {
    interpreter: text(200),
    runPath: random(4) === 0 ? null : { kind: random(2) === 0 ? "rpath" : "runpath", value: text(6000) },
    noDefaultLib: random(2) === 0,
    soname: random(4) === 0 ? null : text(40),
    needed: {
      add: [text(30)],
      remove: random(2) === 0 ? ["libc.so.6", "liba.so.1"] : [],
      replace: new Map([["libb.so", text(40)]]),
    },
    flags: { set: 8 },
    debugTag: true,
    clearSymbolVersions: ["puts"],
    renameSymbols: new Map([
      ["puts", text(20)],
      ["one", "three"],
      ["symbol", text(9)],
    ]),
    executableStack: random(2) === 0,
    osAbi: random(4),
  };
  // Any subset of them.
  return Object.fromEntries(Object.entries(all).filter(() => random(3) !== 0));
};

/** Everything there is, on one file; each part may refuse for itself. */
function exercise(bytes: Uint8Array, edits: ElfEdits): number {
  let refusals = 0;
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof FlixwrapError)) throw error;
      expect(error.message).toContain("fuzz.elf");
      refusals++;
      return undefined;
    }
  };
  const elf = attempt(() => readElf(memorySource(bytes), "fuzz.elf"));
  if (elf === undefined) return refusals;
  attempt(() => readNeededVersions(elf));
  attempt(() => readDefinedVersions(elf));
  attempt(() => readDynamicSymbols(elf));
  attempt(() => findDynamicSymbol(elf, "puts"));
  attempt(() => findString(elf, "libc.so.6"));
  attempt(() => matchStrings(elf, /lib[a-z]+/));
  const notes = attempt(() => readNotes(elf)) ?? [];
  attempt(() => [buildIdOf(notes), dlopenEntriesOf(notes), gnuPropertiesOf(elf, notes)]);
  const patch = attempt(() => planEdits(elf, edits, { payload: "move" }));
  if (patch !== undefined) checkPatch(elf, bytes, patch);
  return refusals;
}

function checkPatch(elf: ElfFile, bytes: Uint8Array, patch: ReturnType<typeof planEdits>): void {
  let end = 0;
  for (const write of patch.writes) {
    if (write.offset < end || write.bytes.length === 0) throw new Error("writes overlap or are out of order");
    end = write.offset + write.bytes.length;
  }
  if (end > patch.size) throw new Error("a write lies beyond the patched file");
  if (patch.size > bytes.length + (2 << 20)) throw new Error(`the file grows by ${patch.size - bytes.length} bytes`);
  const patched = applyPatch(bytes, patch);
  try {
    readElf(memorySource(patched), "fuzz.elf");
  } catch (error) {
    if (!(error instanceof FlixwrapError)) throw error;
    throw new Error(`the patched file cannot be read: ${error.message}; ${elf.segments.length} segments`, {
      cause: error,
    });
  }
}

it(`${runs} damaged files from seed ${seed} give a typed error or a result, in time`, () => {
  const random = generator(seed);
  const sources = seeds().map((bytes) => ({ bytes, spots: hotSpots(bytes) }));
  let refusals = 0;
  for (let run = 0; run < runs; run++) {
    const { bytes, spots } = sources[random(sources.length)]!;
    const damaged = mutate(bytes, spots, random);
    const edits = editsOf(random);
    try {
      inTime(slowest, () => {
        refusals += exercise(damaged, edits);
      });
    } catch (error) {
      const kept = join(tmpdir(), `flixwrap-fuzz-${seed}-${run}.elf`);
      writeFileSync(kept, damaged);
      throw new Error(
        `run ${run}, kept as ${kept}: ${String(error)} ${JSON.stringify(edits, (_, value: unknown) => (value instanceof Map ? [...value] : value))}`,
        { cause: error },
      );
    }
  }
  expect(refusals).toBeGreaterThan(runs / 10);
  expect(process.memoryUsage().rss).toBeLessThan(largest);
}, 3_600_000);
