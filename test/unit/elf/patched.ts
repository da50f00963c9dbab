import type { ElfPatch } from "../../../src/elf/index.ts";

/** The bytes that a patch makes of a file. */
export function applyPatch(bytes: Uint8Array, patch: Pick<ElfPatch, "writes" | "size">): Uint8Array {
  const patched = new Uint8Array(patch.size);
  patched.set(bytes.subarray(0, patch.size));
  for (const write of patch.writes) patched.set(write.bytes, write.offset);
  return patched;
}
