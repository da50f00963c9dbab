import { encodeName } from "../core/names.ts";
import { locate, readMapped, readRange, type FileRange } from "./address.ts";
import { DT, EM, SHN, VER_NDX } from "./constants.ts";
import { lastValue, openDynamicStrings, readDynamicString, type ElfFile } from "./file.ts";
import { malformed } from "./problems.ts";
import { Sym, Versym } from "./structs.ts";

/** Dynamic symbols through the loader's own tables, not through section headers. */

export interface DynamicSymbol {
  readonly name: string;
  /** st_value. */
  readonly value: bigint;
  readonly size: bigint;
  /** STB_*: 0 local, 1 global, 2 weak. */
  readonly binding: number;
  /** STT_*: 1 object, 2 function, 6 TLS ... */
  readonly type: number;
  /** False for a symbol that another object has to bring. */
  readonly defined: boolean;
  /** The index into the version tables; 0 is local, 1 is global without version. */
  readonly version: number;
  /** Another version of this name is the default. */
  readonly hidden: boolean;
}

/** The largest library in the wild has 1.5 million. */
const symbolsMax = 1 << 24;

/** All dynamic symbols but the null symbol, in table order. */
export function readDynamicSymbols(file: ElfFile): DynamicSymbol[] {
  const count = countSymbols(file);
  const table = lastValue(file, DT.SYMTAB);
  if (count < 2 || table === undefined) return [];
  const symbols = Sym.readAll(file, readMapped(file, table, count * Sym.size(file), "dynamic symbols"));
  const versions = readVersionIndices(file, count);
  const nameAt = openDynamicStrings(file);
  return symbols.slice(1).map((symbol, index) => describeSymbol(nameAt(symbol.name), symbol, versions?.[index + 1]));
}

/** The defined symbol of that name, found as a loader does it: by DT_GNU_HASH, else by DT_HASH. */
export function findDynamicSymbol(file: ElfFile, name: string): DynamicSymbol | undefined {
  const table = lastValue(file, DT.SYMTAB);
  if (table === undefined) return undefined;
  const size = BigInt(Sym.size(file));
  for (const index of candidates(file, name)) {
    const symbol = Sym.read(file, readMapped(file, table + BigInt(index) * size, size, "dynamic symbol"));
    if (symbol.shndx === SHN.UNDEF || readDynamicString(file, symbol.name) !== name) continue;
    return describeSymbol(name, symbol, readVersionIndex(file, index));
  }
  return undefined;
}

function describeSymbol(name: string, symbol: Sym, version: number = VER_NDX.GLOBAL): DynamicSymbol {
  return {
    name,
    value: symbol.value,
    size: symbol.size,
    binding: symbol.info >> 4,
    type: symbol.info & 15,
    defined: symbol.shndx !== SHN.UNDEF,
    version: version & 0x7fff,
    hidden: (version & VER_NDX.HIDDEN) !== 0,
  };
}

/** DT_VERSYM, one index per symbol; undefined for files without versions. */
export function readVersionIndices(file: ElfFile, count: number): number[] | undefined {
  const table = lastValue(file, DT.VERSYM);
  if (table === undefined) return undefined;
  return Versym.readAll(file, readMapped(file, table, count * 2, "symbol version indices")).map(({ index }) => index);
}

function readVersionIndex(file: ElfFile, symbol: number): number | undefined {
  const table = lastValue(file, DT.VERSYM);
  if (table === undefined) return undefined;
  return Versym.read(file, readMapped(file, table + BigInt(symbol * 2), 2, "symbol version index")).index;
}

/**
 * How many dynamic symbols there are, the null symbol included. No tag says it: DT_HASH has it as the length of its
 * chains; DT_GNU_HASH only by the end of its last chain.
 */
export function countSymbols(file: ElfFile): number {
  const hash = openHash(file);
  const gnu = openGnuHash(file);
  const count = hash?.chains ?? (gnu === undefined ? 0 : countByGnuHash(gnu));
  if (count > symbolsMax) throw malformed(file, hash?.offset ?? 0, "too many dynamic symbols", `${count}`);
  return count;
}

function candidates(file: ElfFile, name: string): Iterable<number> {
  const gnu = openGnuHash(file);
  if (gnu !== undefined) return gnuCandidates(gnu, gnuHash(name));
  const hash = openHash(file);
  return hash === undefined ? [] : hashCandidates(file, hash, sysvHash(name));
}

/** DT_HASH (gABI chapter 5, "Hash Table"). */
export interface HashTable {
  /** In the file. */
  readonly offset: number;
  /** Bytes of one word: 8 on Alpha and s390x, whatever the specification says. */
  readonly width: 4 | 8;
  readonly buckets: number;
  readonly chains: number;
  word(index: number): number;
}

/**
 * The System V hash table; undefined for a file without one.
 * @throws FlixwrapError `elf-malformed` when it is not in the file.
 */
export function openHash(file: ElfFile): HashTable | undefined {
  const address = lastValue(file, DT.HASH);
  if (address === undefined) return undefined;
  const width = file.bits === 64 && (file.machine === EM.ALPHA || file.machine === EM.S390) ? 8 : 4;
  const range = locate(file, address);
  if (range === undefined || range.length < 2 * width) throw malformed(file, 0, "hash table is not in the file");
  const read = openWords(file, range, "hash table");
  const word = (index: number) => read(index * width, width);
  const [buckets, chains] = [word(0), word(1)];
  if ((2 + buckets + chains) * width > range.length) {
    throw malformed(file, range.offset, "hash table out of bounds", `${buckets} buckets, ${chains} chains`);
  }
  return { offset: range.offset, width, buckets, chains, word };
}

function* hashCandidates(file: ElfFile, table: HashTable, hash: number): Generator<number> {
  if (table.buckets === 0) return;
  let symbol = table.word(2 + (hash % table.buckets));
  for (let steps = 0; symbol !== 0; steps++) {
    if (symbol >= table.chains || steps > table.chains) throw malformed(file, table.offset, "hash chain leads astray");
    yield symbol;
    symbol = table.word(2 + table.buckets + symbol);
  }
}

/** DT_GNU_HASH (glibc elf/dl-lookup.c): bloom filter, buckets, and chains that end with an odd hash. */
export interface GnuHashTable {
  readonly offset: number;
  readonly buckets: number;
  /** The first symbol that the table knows; those before it are not defined here. */
  readonly firstSymbol: number;
  readonly bloomWords: number;
  readonly bloomShift: number;
  /** From the beginning of the table to the buckets, and to the chain of `firstSymbol`, in bytes. */
  readonly bucketsAt: number;
  readonly chainsAt: number;
  /** Symbols that the segment has room for. */
  readonly most: number;
  bucket(index: number): number;
  chain(symbol: number): number;
}

/**
 * The GNU hash table; undefined for a file without one.
 * @throws FlixwrapError `elf-malformed` when it is not in the file.
 */
export function openGnuHash(file: ElfFile): GnuHashTable | undefined {
  const address = lastValue(file, DT.GNU_HASH);
  if (address === undefined) return undefined;
  const range = locate(file, address);
  if (range === undefined || range.length < 16) throw malformed(file, 0, "GNU hash table is not in the file");
  const read = openWords(file, range, "GNU hash table");
  const [buckets, firstSymbol, bloomWords, bloomShift] = [read(0), read(4), read(8), read(12)];
  const bucketsAt = 16 + (bloomWords * file.bits) / 8;
  const chainsAt = bucketsAt + buckets * 4;
  if (chainsAt > range.length) {
    throw malformed(
      file,
      range.offset,
      "GNU hash table header out of range",
      `${buckets} buckets, ${bloomWords} bloom words`,
    );
  }
  return {
    offset: range.offset,
    buckets,
    firstSymbol,
    bloomWords,
    bloomShift,
    bucketsAt,
    chainsAt,
    most: Math.floor((range.length - chainsAt) / 4) + firstSymbol,
    bucket: (index) => read(bucketsAt + index * 4),
    chain: (symbol) => read(chainsAt + (symbol - firstSymbol) * 4),
  };
}

function countByGnuHash(table: GnuHashTable): number {
  let last = 0;
  for (let index = 0; index < table.buckets; index++) last = Math.max(last, table.bucket(index));
  // Without a defined symbol only those before the first are known.
  if (last < table.firstSymbol) return table.firstSymbol;
  while (last < table.most && (table.chain(last) & 1) === 0) last++;
  return last + 1;
}

function* gnuCandidates(table: GnuHashTable, hash: number): Generator<number> {
  if (table.buckets === 0) return;
  const first = table.bucket(hash % table.buckets);
  if (first < table.firstSymbol) return;
  for (let symbol = first; symbol < table.most; symbol++) {
    const found = table.chain(symbol);
    if ((found | 1) >>> 0 === (hash | 1) >>> 0) yield symbol;
    if ((found & 1) !== 0) return;
  }
}

const windowSize = 4096;

/** The words of a table, read by windows: tables are large, and one walk touches few or all of them. */
function openWords(file: ElfFile, range: FileRange, what: string): (at: number, width?: 4 | 8) => number {
  const little = file.endian === "little";
  let view: DataView = new DataView(new ArrayBuffer(0));
  let start = 0;
  return (at, width = 4) => {
    if (at < start || at + width > start + view.byteLength) {
      if (at + width > range.length) throw malformed(file, range.offset + at, `${what} out of bounds`);
      start = at;
      const bytes = readRange(file, range.offset + at, Math.min(windowSize, range.length - at), what);
      view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return width === 4 ? view.getUint32(at - start, little) : Number(view.getBigUint64(at - start, little));
  };
}

/** The hash function of DT_HASH and of version names (gABI chapter 5). */
export function sysvHash(name: string): number {
  let hash = 0;
  for (const byte of encodeName(name)) {
    hash = ((hash << 4) >>> 0) + byte;
    const high = hash & 0xf0000000;
    hash = ((hash ^ (high >>> 24)) & ~high) >>> 0;
  }
  return hash;
}

/** The hash function of DT_GNU_HASH: h * 33 + c from 5381 on, in 32 bits. */
export function gnuHash(name: string): number {
  let hash = 5381;
  for (const byte of encodeName(name)) hash = (Math.imul(hash, 33) + byte) >>> 0;
  return hash;
}
