import { type Architecture, architectureOfElf, findArchitecture } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ElfFile } from "../elf/index.ts";

/**
 * The architecture of the hosts that can run all of these: the image's when programs agree with it, else the widest
 * one (a 32-bit program beside 64-bit ones runs on the 64-bit host), undefined when there are no programs at all.
 * @throws FlixwrapError `wrap-unknown-architecture` for machines that systemd has no word for.
 */
export function chooseArchitecture(elfs: readonly ElfFile[], platform: string | undefined): Architecture | undefined {
  const rows = new Set<Architecture>();
  const unknown: string[] = [];
  for (const elf of elfs) {
    const row = architectureOfElf(elf);
    if (row === undefined) unknown.push(elf.name);
    else rows.add(row);
  }
  if (unknown.length > 0) {
    throw new FlixwrapError("wrap-unknown-architecture", {
      what: "systemd has no name for the architecture of these files",
      items: unknown,
    });
  }
  const ofImage = findArchitecture(platform?.split("/")[1] ?? "");
  if (ofImage !== undefined && (rows.size === 0 || rows.has(ofImage))) return ofImage;
  return [...rows].toSorted((a, b) => b.elf.bits - a.elf.bits)[0];
}
