import { readElf, type ElfFile } from "../../elf/index.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { openFile } from "../elf/open-file.ts";
import { splitColons } from "./options.ts";

/**
 * The run path without the folders that hold none of the needed libraries, as patchelf does it: relative entries (`$ORIGIN`)
 * stay, a library counts for the first folder that has it, one of another machine does not count.
 */
export function shrinkRunPath(file: ElfFile, runPath: string, allowedPrefixes: readonly string[]): string {
  const found = new Set<string>();
  const kept = splitColons(runPath).filter((folder) => {
    if (!folder.startsWith("/")) return true;
    if (allowedPrefixes.length > 0 && !allowedPrefixes.some((prefix) => folder.startsWith(prefix))) return false;
    const here = file.needed.filter((name) => !found.has(name) && holds(`${folder}/${name}`, file));
    for (const name of here) found.add(name);
    return here.length > 0;
  });
  return kept.join(":");
}

function holds(path: string, file: ElfFile): boolean {
  let opened: ReturnType<typeof openFile>;
  try {
    opened = openFile(path);
  } catch (error) {
    if (error instanceof FlixwrapError) return false;
    throw error;
  }
  try {
    const { machine, bits, endian } = readElf(opened.source, path);
    return machine === file.machine && bits === file.bits && endian === file.endian;
  } finally {
    opened.close();
  }
}
