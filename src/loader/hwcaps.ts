import type { Machine } from "./header.ts";

/**
 * `glibc-hwcaps` sub-folders, best first (glibc sysdeps/ARCH/dl-hwcaps-subdirs.c, 2.33 to 2.41). A processor that has
 * a level has all levels after it. Machines that are not named here have none.
 */
const levels: readonly (Pick<Machine, "machine" | "endian"> & { readonly names: readonly string[] })[] = [
  { machine: 62, endian: "little", names: ["x86-64-v4", "x86-64-v3", "x86-64-v2"] },
  { machine: 21, endian: "little", names: ["power10", "power9"] },
  { machine: 22, endian: "big", names: ["z17", "z16", "z15", "z14", "z13"] },
];

/** The levels of a machine, best first. */
export function hwcapsLevels(machine: Machine): readonly string[] {
  return levels.find((row) => row.machine === machine.machine && row.endian === machine.endian)?.names ?? [];
}

/** Every processor that may come: none of the levels, then one more each time. */
export function hwcapsProcessors(machine: Machine): readonly (readonly string[])[] {
  const names = hwcapsLevels(machine);
  return Array.from({ length: names.length + 1 }, (_, i) => names.slice(names.length - i));
}

/**
 * AT_PLATFORM, the value of `$PLATFORM`, where it does not depend on the processor and the kernel at hand (Linux
 * ELF_PLATFORM). A 32-bit ARM program is told v7l by one kernel and v8l by another.
 */
export function platformOf(machine: Machine): string | undefined {
  const names: Readonly<Record<number, string>> = { 62: "x86_64", 3: "i686", 183: "aarch64" };
  return names[machine.machine];
}
