/** EI_OSABI by number, in the words that patchelf prints; the other spellings that it takes. */
const osAbis: readonly { readonly value: number; readonly name: string; readonly aliases?: readonly string[] }[] = [
  { value: 0, name: "System V", aliases: ["system-v", "sysv"] },
  { value: 1, name: "HP-UX" },
  { value: 2, name: "NetBSD" },
  { value: 3, name: "Linux", aliases: ["gnu"] },
  { value: 4, name: "GNU Hurd", aliases: ["gnu-hurd", "hurd"] },
  { value: 6, name: "Solaris" },
  { value: 7, name: "AIX" },
  { value: 8, name: "IRIX" },
  { value: 9, name: "FreeBSD" },
  { value: 10, name: "Tru64" },
  { value: 12, name: "OpenBSD" },
  { value: 13, name: "OpenVMS" },
];

/** `Linux`, or `0x61` for a number without a name. */
export const nameOsAbi = (value: number): string =>
  osAbis.find((row) => row.value === value)?.name ?? `0x${value.toString(16).toUpperCase().padStart(2, "0")}`;

/** The number that a name means, in any case and with blanks around it. */
export function parseOsAbi(text: string): number | undefined {
  const wanted = text.trim().toLowerCase();
  return osAbis.find(({ name, aliases = [] }) => name.toLowerCase() === wanted || aliases.includes(wanted))?.value;
}
