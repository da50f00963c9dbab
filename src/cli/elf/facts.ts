import {
  buildIdOf,
  countSymbols,
  DF,
  DF_1,
  dlopenEntriesOf,
  type ElfFile,
  ET,
  gnuPropertiesOf,
  nameMachine,
  nameOf,
  PF,
  PT,
  readDefinedVersions,
  readNeededVersions,
  readNotes,
} from "../../elf/index.ts";
import { nameOsAbi } from "../patchelf/abi.ts";

/** What `flixwrap elf info` tells of a file, in its JSON form. */
export type ElfFacts = ReturnType<typeof describeElf>;

/** What `flixwrap elf info` tells of a file, as plain data; `--json` prints it as it is. */
export function describeElf(elf: ElfFile) {
  const notes = readNotes(elf);
  const stack = elf.segments.find(({ type }) => type === PT.GNU_STACK);
  return {
    file: elf.name,
    bits: elf.bits,
    endian: elf.endian,
    machine: nameMachine(elf.machine),
    type: nameOf(ET, elf.type) ?? `${elf.type}`,
    osAbi: nameOsAbi(elf.header.ident[7]!),
    entry: `0x${elf.header.entry.toString(16)}`,
    interpreter: elf.interpreter,
    soname: elf.soname,
    needed: elf.needed,
    rpath: elf.rpath,
    runpath: elf.runpath,
    auxiliary: elf.auxiliary,
    filters: elf.filters,
    flags: [...bitNames(DF, elf.flags), ...bitNames(DF_1, elf.flags1)],
    executableStack: stack === undefined ? undefined : (stack.flags & PF.X) !== 0,
    readOnlyRelocations: elf.segments.some(({ type }) => type === PT.GNU_RELRO),
    buildId: buildIdOf(notes),
    gnuProperties: gnuPropertiesOf(elf, notes).map(({ type, data }) => ({
      type: `0x${type.toString(16)}`,
      data: Buffer.from(data).toString("hex"),
    })),
    dlopen: dlopenEntriesOf(notes),
    neededVersions: readNeededVersions(elf).map(({ file, versions }) => ({
      file,
      versions: versions.map(({ name, weak }) => (weak ? `${name} (weak)` : name)),
    })),
    definedVersions: readDefinedVersions(elf)
      .filter(({ base }) => !base)
      .map(({ name }) => name),
    dynamicSymbols: elf.isDynamic ? countSymbols(elf) : 0,
    segments: elf.segments.map(({ type, flags, offset, vaddr, filesz, memsz, align }) => ({
      type: nameOf(PT, type) ?? `0x${type.toString(16)}`,
      flags: `${flags & PF.R ? "R" : "-"}${flags & PF.W ? "W" : "-"}${flags & PF.X ? "X" : "-"}`,
      offset: Number(offset),
      address: `0x${vaddr.toString(16)}`,
      fileSize: Number(filesz),
      memorySize: Number(memsz),
      align: Number(align),
    })),
  };
}

const bitNames = (names: Readonly<Record<string, number>>, bits: number): string[] =>
  Object.entries(names).flatMap(([name, bit]) => ((bits & bit) === 0 ? [] : [name]));

/** The same for people: one fact a line, without those that a file does not have. */
export function wordFacts(facts: ElfFacts): string {
  const rows: [string, string | readonly string[] | undefined][] = [
    ["kind", `${facts.bits}-bit ${facts.endian}-endian ${facts.machine}, ${facts.type}, ${facts.osAbi}`],
    ["interpreter", facts.interpreter],
    ["soname", facts.soname],
    ["needed", facts.needed],
    ["rpath", facts.rpath],
    ["runpath", facts.runpath],
    ["auxiliary", facts.auxiliary],
    ["filter", facts.filters],
    ["flags", facts.flags.join(" ")],
    ["stack", facts.executableStack === true ? "executable" : undefined],
    ["build-id", facts.buildId],
    [
      "dlopen",
      facts.dlopen.map(
        ({ sonames, priority, feature }) => `${sonames.join(" or ")} (${priority}${feature ? `, ${feature}` : ""})`,
      ),
    ],
    ["versions", facts.neededVersions.map(({ file, versions }) => `${file}: ${versions.join(" ")}`)],
    ["defines", facts.definedVersions.join(" ")],
    ["symbols", facts.dynamicSymbols === 0 ? undefined : `${facts.dynamicSymbols}`],
  ];
  const lines = rows.flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : (value ?? []))
      .filter((text) => text !== "")
      .map((text, index) => `  ${(index === 0 ? name : "").padEnd(12)} ${text}`),
  );
  return [facts.file, ...lines].join("\n");
}
