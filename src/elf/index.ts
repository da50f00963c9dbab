/** The ELF engine: reads and edits any ELF file (package export `flixwrap/elf`). */
export { type ByteSource, type ByteWrite, memorySource } from "../core/bytes.ts";
export { isElf, readElf, type DynamicEntry, type ElfFile } from "./file.ts";
export { planEdits, type ElfEdits, type ElfPatch } from "./edit.ts";
export type { Growth, GrowthLimits } from "./draft.ts";
export type { FlagEdit, NeededEdits, RunPath } from "./edit-dynamic.ts";
export { findPath, findString, matchData, matchStrings } from "./find.ts";
export { nameMachine } from "./machines.ts";
export { nameOf } from "./constants.ts";
export { DF, DF_1, DT, EM, ET, PF, PT, SHF, SHN, SHT } from "./constants.ts";
export { readSections } from "./sections.ts";
export type { Format } from "./layout.ts";
export {
  readDefinedVersions,
  readNeededVersions,
  type DefinedVersion,
  type NeededVersion,
  type NeededVersions,
} from "./versions.ts";
export {
  abiTagsOf,
  type AbiTag,
  buildIdOf,
  dlopenEntriesOf,
  gnuPropertiesOf,
  readNotes,
  type DlopenEntry,
  type GnuProperty,
  type Note,
} from "./notes.ts";
export { countSymbols, findDynamicSymbol, readDynamicSymbols, type DynamicSymbol } from "./symbols.ts";
