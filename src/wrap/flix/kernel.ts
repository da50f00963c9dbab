import { FlixwrapError } from "../../core/errors.ts";
import { abiTagsOf, type ElfFile, readNotes } from "../../elf/index.ts";
import type { Closure } from "../../loader/index.ts";
import type { Selection } from "./selection.ts";

/** The minimum of systemd 258 (its NEWS); for LoongArch (e_machine 258), 5.19 was the first. */
const oldestKernel = (machine: number): string => (machine === 258 ? "5.19" : "5.4");

/**
 * Refuses programs, loaders and C libraries that say that they need a newer kernel than the hosts have, or another one
 * than Linux: they end with "FATAL: kernel too old" or worse. (Other objects carry no ABI tag of their own.)
 * @throws FlixwrapError `wrap-kernel`, with every file concerned.
 */
export function verifyKernel({ files }: Selection, { objects }: Closure, given: string | undefined): void {
  const needy = objects.filter(({ role, elf }) => role !== "library" || elf.soname?.startsWith("libc."));
  const elfs = [...files.flatMap((file) => ("elf" in file && file.elf) || []), ...needy.map(({ elf }) => elf)];
  const refused = [...new Map(elfs.map((elf) => [elf.name, elf])).values()].flatMap((elf) => {
    const wanted = neededKernel(elf);
    const oldest = given ?? oldestKernel(elf.machine);
    return wanted === undefined || (wanted !== "another" && compare(wanted, oldest) <= 0)
      ? []
      : [{ elf, wanted, oldest }];
  });
  if (refused.length === 0) return;
  const [{ oldest }] = refused as [(typeof refused)[number]];
  throw new FlixwrapError("wrap-kernel", {
    what: "needs another kernel than the hosts have",
    items: refused.map(({ elf, wanted }) =>
      wanted === "another" ? `${elf.name} is no program for Linux` : `${elf.name} needs Linux ${wanted}`,
    ),
    wanted: `Linux ${oldest} at the most`,
    hint: "say with --kernel which Linux all hosts have",
  });
}

/** As `6.1.0`; `another` for a file that is not for Linux. */
function neededKernel(elf: ElfFile): string | undefined {
  const tags = abiTagsOf(elf, readNotes(elf));
  if (tags.some(({ system }) => system !== 0)) return "another";
  return tags
    .map(({ kernel }) => kernel.join("."))
    .toSorted(compare)
    .at(-1);
}

function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split(".").map(Number)) as [number[], number[]];
  const at = [0, 1, 2].find((index) => (left[index] ?? 0) !== (right[index] ?? 0));
  return at === undefined ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}
