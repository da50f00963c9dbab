import { readElf, type ElfFile, type ElfPatch } from "../../elf/index.ts";
import { openFile, type FileOnDisk } from "./open-file.ts";

/** How {@link editFiles} goes about it. */
export interface EditOptions {
  /** Where the one file's result goes; over the file itself by default. */
  readonly output?: string;
  /** Plan only. */
  readonly dryRun?: boolean;
  /** Told of each file before anything is written. */
  readonly onPlan?: (path: string, patch: ElfPatch, elf: ElfFile) => void;
}

/** Edits files in place. All are planned before the first is written: when one is bad, none is changed. */
export async function editFiles(
  paths: readonly string[],
  plan: (elf: ElfFile) => ElfPatch,
  options: EditOptions = {},
): Promise<void> {
  const opened: FileOnDisk[] = [];
  try {
    const planned = paths.map((path): [string, ElfPatch] => {
      const file = openFile(path);
      opened.push(file);
      const elf = readElf(file.source, path);
      const patch = plan(elf);
      options.onPlan?.(path, patch, elf);
      return [path, patch];
    });
    const changed = planned.filter(([, { growth }]) => growth !== "none" || options.output !== undefined);
    if (options.dryRun || changed.length === 0) return;
    // Child processes take a while to load; printing needs none.
    const { savePatch } = await import("./save-patch.ts");
    for (const [path, patch] of changed) savePatch(path, patch, options.output);
  } finally {
    for (const { close } of opened) close();
  }
}

/** What `read` makes of each file. */
export function readFiles<T>(paths: readonly string[], read: (elf: ElfFile) => T): T[] {
  return paths.map((path) => {
    const file = openFile(path);
    try {
      return read(readElf(file.source, path));
    } finally {
      file.close();
    }
  });
}
