import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import type { Machine } from "./header.ts";

/** One line of `ldconfig -p`. */
export interface CacheEntry {
  /** The name asked for, usually a soname. */
  readonly name: string;
  readonly path: string;
  /** The file there is, when `path` is the link that ldconfig has yet to make to it. */
  readonly file?: string;
  /** Type and architecture (FLAG_* of elf/ldconfig.h). */
  readonly flags: number;
  /** The `glibc-hwcaps` sub-folder it stands for: `x86-64-v3`. */
  readonly hwcaps?: string;
  /** Bits of the mechanism before 2.33 (0: none). */
  readonly legacyHwcap: bigint;
}

const oldMagic = "ld.so-1.7.0\0";
const newMagic = "glibc-ld.so.cache1.1";
/** Largest caches seen are 300 KB. */
const largestCache = 16 * 1024 * 1024;
const longestPath = 4096;
/** sysdeps/generic/dl-cache.h: an entry with this bit holds an index into the extension's strings. */
const hwcapsExtension = 1n << 62n;
const extensionMagic = 0xeaa42174;

/**
 * Reads ld.so.cache (sysdeps/generic/dl-cache.h), the `1.1` format alone or behind the `1.7.0` one. Entries are
 * in file order. A damaged file, or one of the other byte order, is as good as none to the loader: undefined.
 */
export function readLibraryCache(source: ByteSource, endian: "little" | "big"): readonly CacheEntry[] | undefined {
  if (source.size > largestCache) return undefined;
  const bytes = source.read(0, source.size);
  const little = endian === "little";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = startOfNewFormat(bytes, view, little);
  if (start === undefined || start + 48 > bytes.length) return undefined;

  const byteOrder = view.getUint8(start + 28) & 3;
  if (byteOrder !== 0 && byteOrder !== (little ? 2 : 3)) return undefined;
  const count = view.getUint32(start + 20, little);
  if (count > (bytes.length - start - 48) / 24) return undefined;

  // Offsets of strings count from the header of the new format.
  const readText = (offset: number): string | undefined => {
    if (start + offset >= bytes.length) return undefined;
    const text = bytes.subarray(start + offset, start + offset + longestPath);
    const end = text.indexOf(0);
    return end < 0 ? undefined : decodeName(text.subarray(0, end));
  };
  const levels = readHwcapsNames(view, start, little, readText);

  const entries: CacheEntry[] = [];
  for (let i = 0; i < count; i++) {
    const at = start + 48 + i * 24;
    const name = readText(view.getUint32(at + 4, little));
    const path = readText(view.getUint32(at + 8, little));
    if (name === undefined || path === undefined) continue;
    const hwcap = view.getBigUint64(at + 16, little);
    const isExtension = (hwcap & hwcapsExtension) !== 0n;
    const hwcaps = isExtension ? levels[Number(hwcap & 0xffffffffn)] : undefined;
    if (isExtension && hwcaps === undefined) continue;
    entries.push({
      name,
      path,
      flags: view.getInt32(at, little),
      legacyHwcap: isExtension ? 0n : hwcap,
      ...(hwcaps !== undefined && { hwcaps }),
    });
  }
  return entries;
}

function startOfNewFormat(bytes: Uint8Array, view: DataView, little: boolean): number | undefined {
  if (hasText(bytes, 0, newMagic)) return 0;
  if (!hasText(bytes, 0, oldMagic) || bytes.length < 16) return undefined;
  // struct cache_file: 12 bytes of magic (11 and a pad), nlibs, then 12 bytes each; the new one is 8-aligned.
  const start = Math.ceil((16 + view.getUint32(12, little) * 12) / 8) * 8;
  return hasText(bytes, start, newMagic) ? start : undefined;
}

/** Section 1 of the extension: offsets of the sub-folders' names. */
function readHwcapsNames(
  view: DataView,
  start: number,
  little: boolean,
  readText: (offset: number) => string | undefined,
): readonly (string | undefined)[] {
  const extension = view.getUint32(start + 32, little);
  const at = start + extension;
  if (extension === 0 || at + 8 > view.byteLength || view.getUint32(at, little) !== extensionMagic) return [];
  const sections = Math.min(view.getUint32(at + 4, little), Math.floor((view.byteLength - at - 8) / 16));
  for (let i = 0; i < sections; i++) {
    const section = at + 8 + i * 16;
    if (view.getUint32(section, little) !== 1) continue;
    const offset = start + view.getUint32(section + 8, little);
    const size = view.getUint32(section + 12, little);
    if (offset + size > view.byteLength) return [];
    return Array.from({ length: Math.floor(size / 4) }, (_, index) =>
      readText(view.getUint32(offset + index * 4, little)),
    );
  }
  return [];
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const hasText = (bytes: Uint8Array, at: number, text: string): boolean =>
  at + text.length <= bytes.length && latin1(bytes.subarray(at, at + text.length)) === text;

/**
 * _DL_CACHE_DEFAULT_ID per machine (sysdeps/unix/sysv/linux/ARCH/dl-cache.h). Where an ABI is told from e_flags
 * (arm, mips, riscv, loongarch) all ids of the machine pass: opening the file decides.
 */
const cacheIds: readonly (Pick<Machine, "machine" | "bits"> & { readonly ids: readonly number[] })[] = [
  { machine: 62, bits: 64, ids: [0x0303] },
  { machine: 62, bits: 32, ids: [0x0803] },
  { machine: 3, bits: 32, ids: [0x0003] },
  { machine: 183, bits: 64, ids: [0x0a03] },
  { machine: 40, bits: 32, ids: [0x0903, 0x0b03, 0x0003] },
  { machine: 21, bits: 64, ids: [0x0503] },
  { machine: 22, bits: 64, ids: [0x0403] },
  { machine: 43, bits: 64, ids: [0x0103] },
  { machine: 50, bits: 64, ids: [0x0203] },
  { machine: 8, bits: 64, ids: [0x0703, 0x0e03] },
  { machine: 8, bits: 32, ids: [0x0603, 0x0c03, 0x0d03, 0x0003] },
  { machine: 243, bits: 64, ids: [0x0f03, 0x1003] },
  { machine: 243, bits: 32, ids: [0x0f03, 0x1003] },
  { machine: 258, bits: 64, ids: [0x1103, 0x1203] },
];

/** Whether the loader of `machine` takes an entry with these flags: its own id, or 1 for "any ELF". */
export function acceptsEntry(flags: number, machine: Machine): boolean {
  const row = cacheIds.find((candidate) => candidate.machine === machine.machine && candidate.bits === machine.bits);
  return flags === 1 || (row?.ids ?? [0x0003]).includes(flags);
}
