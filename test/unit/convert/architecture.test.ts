import { expect, test } from "vitest";
import { chooseArchitecture } from "../../../src/convert/architecture.ts";
import type { ElfFile } from "../../../src/elf/index.ts";

/** e_machine, class and byte order, of the gABI's registry. */
const machines = {
  amd64: { machine: 62, bits: 64, endian: "little" },
  i386: { machine: 3, bits: 32, endian: "little" },
  arm64: { machine: 183, bits: 64, endian: "little" },
  arm: { machine: 40, bits: 32, endian: "little" },
  vax: { machine: 75, bits: 32, endian: "little" },
} as const;

const elfs = (...names: (keyof typeof machines)[]) => names.map((name) => machines[name] as unknown as ElfFile);

test.each([
  [elfs("amd64"), "linux/amd64", "x86-64"],
  [elfs("amd64", "i386"), "linux/amd64", "x86-64"],
  [elfs("amd64", "i386"), undefined, "x86-64"],
  // The host that merges it is the image's, whose kernel runs both.
  [elfs("i386"), "linux/amd64", "x86-64"],
  [elfs("arm"), "linux/arm64", "arm64"],
  [elfs("i386"), "linux/386", "x86"],
  [elfs("i386"), undefined, "x86"],
  [elfs("i386"), "linux/arm64", "x86"],
  [elfs("arm64"), "linux/amd64", "arm64"],
  [elfs(), "linux/arm64", "arm64"],
  [elfs(), undefined, undefined],
] as const)("%o of an image for %s run on %s", (files, platform, expected) => {
  expect(chooseArchitecture(files, platform)?.systemd).toBe(expected);
});

test("a machine that systemd has no word for is refused", () => {
  expect(() => chooseArchitecture(elfs("vax"), "linux/amd64")).toThrow(/no name for the architecture/);
});
