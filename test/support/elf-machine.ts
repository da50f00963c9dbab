/** systemd's name of an ELF file's machine, by the raw header (gABI, e_machine at byte 18); undefined for other files. */
export function readElf(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head);
  if (bytes.length < 20 || bytes.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const machine = bytes.readUInt16LE(18);
  return { 62: "x86-64", 183: "arm64" }[machine] ?? `machine ${machine}`;
}
