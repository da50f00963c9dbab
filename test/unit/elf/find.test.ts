import { describe, expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { findString, matchData, matchStrings } from "../../../src/elf/index.ts";
import type { Phdr } from "../../../src/elf/structs.ts";

/** One read-only segment at byte 100 that holds `text`, and nothing else of an ELF file. */
function segment(text: string) {
  const bytes = Buffer.concat([Buffer.from("x".repeat(100)), Buffer.from(text, "latin1"), Buffer.from("libz.so\0")]);
  const load = { type: 1, flags: 4, offset: 100n, filesz: BigInt(text.length) } as Phdr;
  return { source: memorySource(bytes), name: "test.elf", segments: [load] };
}

const window = 1 << 20;

describe("a whole string in the read-only segments", () => {
  it.each<[string, string, number[]]>([
    ["at their beginning", "liba.so\0", [0]],
    ["in their middle", "a\0liba.so\0b", [2]],
    ["several times", "liba.so\0liba.so\0", [0, 8]],
    ["not as the end of a longer one", "/liba.so\0", []],
    ["not without its end", "\0liba.so", []],
    ["not behind them", "\0", []],
    ["over the end of a window", `${"\0".repeat(window - 3)}liba.so\0`, [window - 3]],
    ["at the beginning of a window", `${"\0".repeat(window)}liba.so\0`, [window]],
    ["not as the end of one that a window begins in", `${"\0".repeat(window - 1)}/liba.so\0`, []],
  ])("%s", (_, text, wanted) => {
    expect(findString(segment(text), "liba.so")).toEqual(wanted.map((at) => at + 100));
    expect(matchStrings(segment(text), /lib[a-y]\.so/)).toEqual(wanted.length > 0 ? ["liba.so"] : []);
  });
});

/** Segments of eight bytes, one after the other, each with a name of its own; flags 4 is read, 1 execute, 2 write. */
describe("names are searched among the data of a file", () => {
  it.each<[string, number[], string, string]>([
    ["not in the code of a linker that keeps it apart", [4, 5, 4, 6], "0 2", "0 2 3"],
    ["also beside the code where constants stand there", [5, 6], "0", "0 1"],
    ["also beside the code when the headers are not loaded", [0, 5, 6], "1", "1 2"],
  ])("%s", (_, flags, strings, data) => {
    const bytes = Buffer.from(flags.map((__, at) => `\0lib${at}.s\0`).join(""));
    const segments = flags.map(
      (one, at) => ({ type: one === 0 ? 0 : 1, flags: one, offset: BigInt(at * 8), filesz: 8n }) as Phdr,
    );
    const file = { source: memorySource(bytes), name: "test.elf", segments };
    const told = (found: Iterable<string>) => Array.from(found, (name) => name[3]).join(" ");
    expect(told(matchStrings(file, /lib\d\.s/))).toBe(strings);
    expect(told(matchData(file, /lib\d\.s/g, 8))).toBe(data);
  });
});
