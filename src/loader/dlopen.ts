import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ElfFile } from "../elf/file.ts";
import { type DlopenEntry, dlopenEntriesOf, readNotes } from "../elf/notes.ts";
import type { LateRequest } from "./process.ts";
import type { Asker } from "./world.ts";

/** How much of what objects declare in `.note.dlopen` (UAPI.12) comes along; each level includes those before it. */
export const dlopenLevels = ["none", "required", "recommended", "suggested"] as const;
/** One of {@link dlopenLevels}. */
export type DlopenLevel = (typeof dlopenLevels)[number];

/** What an object declares that it loads by dlopen(3), up to a level. */
export function declaredRequests({ elf }: Asker, level: DlopenLevel): readonly LateRequest[] {
  if (level === "none") return [];
  return declarationsOf(elf)
    .filter(({ priority }) => dlopenLevels.indexOf(priority) <= dlopenLevels.indexOf(level))
    .map(({ sonames, feature, description, priority }) => ({
      names: sonames,
      required: priority === "required",
      why: `${priority}: ${description ?? feature ?? "no description"}`,
    }));
}

/** Each file's notes are read once; an object is in many processes. */
const declarations = new WeakMap<ByteSource, readonly DlopenEntry[]>();

function declarationsOf(elf: ElfFile): readonly DlopenEntry[] {
  let entries = declarations.get(elf.source);
  if (entries === undefined) {
    entries = elf.isDynamic ? readDeclarations(elf) : [];
    declarations.set(elf.source, entries);
  }
  return entries;
}

function readDeclarations(elf: ElfFile): readonly DlopenEntry[] {
  try {
    return dlopenEntriesOf(readNotes(elf));
  } catch (error) {
    // No loader reads these notes: damaged ones are no reason to refuse a file that runs.
    if (error instanceof FlixwrapError) return [];
    throw error;
  }
}
