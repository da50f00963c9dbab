import { type Architecture, architectureOfElf, findArchitecture } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ElfFile } from "../elf/index.ts";

/**
 * The architecture of the hosts that can run all of these: the image's when it runs them (32-bit programs of a 64-bit
 * image, too: systemd compares with the host's kernel), else the widest one, undefined when there are no programs at all.
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
  if (ofImage !== undefined && (rows.has(ofImage) || [...rows].every((row) => runs(ofImage, row)))) return ofImage;
  return [...rows].toSorted((a, b) => b.elf.bits - a.elf.bits)[0];
}

/** Whether kernels of the one architecture run programs of the other: the 32-bit sibling. */
const runs = (host: Architecture, program: Architecture): boolean => siblings[host.systemd] === program.systemd;

const siblings: Readonly<Record<string, string>> = { "x86-64": "x86", arm64: "arm" };
