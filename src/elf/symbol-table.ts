import { windowedSource, type ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { locate, readMapped } from "./address.ts";
import { DT, SHN, VER_NDX } from "./constants.ts";
import { type ElfFile, lastValue } from "./file.ts";
import { readRelocatedSymbols } from "./relocated-symbols.ts";
import { Sym } from "./structs.ts";
import { countSymbols, openGnuHash } from "./symbols.ts";

/** A STB_LOCAL symbol serves no other object; STB_GLOBAL and STB_GNU_UNIQUE must be found, STB_WEAK need not. */
const STB = { LOCAL: 0, WEAK: 2 } as const;

/** A symbol that somebody has to define: where its name stands in its table's strings. */
export interface WantedSymbol {
  readonly symbol: number;
  readonly at: number;
  readonly length: number;
  /** The hash of DT_GNU_HASH. */
  readonly hash: number;
  /** The index into the version tables; 0 and 1 are no version. */
  readonly version: number;
  /** Of a copy relocation: this table's own definition is only room for it. */
  readonly elsewhere: boolean;
}

/**
 * The dynamic symbols of a file for looking up very many: they stay the bytes that they are in the file, and names are
 * compared without becoming strings. Symbols are told by their indices.
 */
export class SymbolTable {
  readonly #symbols: DataView;
  readonly #little: boolean;
  readonly #size: number;
  readonly #infoAt: number;
  readonly #shndxAt: number;
  readonly #versions: DataView | undefined;
  readonly #strings: Uint8Array;
  readonly #lookUp: (hash: number) => readonly number[];
  /** Undefined and not weak, in table order; with what copy relocations name. */
  readonly wanted: readonly WantedSymbol[];

  /** @throws FlixwrapError `elf-malformed`. */
  constructor(elf: ElfFile) {
    // The tables lie close to each other, mostly at the file's beginning.
    const file: ElfFile = { ...elf, source: windowedSource(elf.source, 1 << 16) };
    const read = (tag: number, length: number, what: string): Uint8Array | undefined => {
      const address = lastValue(file, tag);
      return address === undefined ? undefined : readMapped(file, address, length, what);
    };
    this.#little = file.endian === "little";
    this.#size = Sym.size(file);
    this.#infoAt = Sym.offsetOf(file, "info");
    this.#shndxAt = Sym.offsetOf(file, "shndx");
    const count = countAll(file);
    this.#symbols = viewOf(read(DT.SYMTAB, count * this.#size, "dynamic symbols") ?? new Uint8Array(0));
    const versions = count === 0 ? undefined : read(DT.VERSYM, count * 2, "symbol version indices");
    this.#versions = versions && viewOf(versions);
    this.#strings = readStrings(file);
    this.#lookUp = openLookUp(file, count) ?? this.#hashAll(count);
    const wanted: WantedSymbol[] = [];
    // Only programs have copy relocations.
    const copied = file.interpreter === undefined ? noSymbols : readRelocatedSymbols(file).copied;
    for (let symbol = 1; symbol < count; symbol++) {
      const elsewhere = copied.has(symbol);
      if ((elsewhere || this.#isUndefined(symbol)) && this.#isStrong(symbol))
        wanted.push(this.#want(symbol, elsewhere));
    }
    this.wanted = wanted;
  }

  /** Whether it names the symbol, defined or not; what stands in its strings for another reason counts, too. */
  mentions(symbol: string): boolean {
    const { buffer, byteOffset, byteLength } = this.#strings;
    return Buffer.from(buffer, byteOffset, byteLength).includes(`\0${symbol}\0`, 0, "latin1");
  }

  nameOf({ at, length }: WantedSymbol): string {
    return decodeName(this.#strings.subarray(at, at + length));
  }

  /** Versions, as indices into the version tables, of what is defined here under the name of another table's symbol. */
  find(other: SymbolTable, wanted: WantedSymbol): readonly number[] {
    const symbols = this.#lookUp(wanted.hash);
    if (symbols.length === 0) return symbols;
    return symbols
      .filter((symbol) => this.#isDefined(symbol) && this.#hasName(symbol, other.#strings, wanted))
      .map((symbol) => this.#versionOf(symbol));
  }

  #nameAt(symbol: number): number {
    return this.#symbols.getUint32(symbol * this.#size, this.#little);
  }

  #bindingOf(symbol: number): number {
    return this.#symbols.getUint8(symbol * this.#size + this.#infoAt) >> 4;
  }

  #versionOf(symbol: number): number {
    return (this.#versions?.getUint16(symbol * 2, this.#little) ?? VER_NDX.GLOBAL) & 0x7fff;
  }

  #isUndefined(symbol: number): boolean {
    return this.#symbols.getUint16(symbol * this.#size + this.#shndxAt, this.#little) === SHN.UNDEF;
  }

  #isDefined(symbol: number): boolean {
    return !this.#isUndefined(symbol) && this.#bindingOf(symbol) !== STB.LOCAL;
  }

  #isStrong(symbol: number): boolean {
    const binding = this.#bindingOf(symbol);
    return binding !== STB.LOCAL && binding !== STB.WEAK && (this.#strings[this.#nameAt(symbol)] ?? 0) !== 0;
  }

  #want(symbol: number, elsewhere: boolean): WantedSymbol {
    const at = this.#nameAt(symbol);
    const length = this.#lengthAt(at);
    const hash = hashOf(this.#strings, at, length);
    return { symbol, at, length, hash, version: this.#versionOf(symbol), elsewhere };
  }

  /** Of the string at `at`; what has no NUL ends with the table. */
  #lengthAt(at: number): number {
    const end = this.#strings.indexOf(0, at);
    return (end < 0 ? this.#strings.length : end) - at;
  }

  #hasName(symbol: number, strings: Uint8Array, { at, length }: WantedSymbol): boolean {
    const own = this.#nameAt(symbol);
    if (this.#strings[own + length] !== 0) return false;
    for (let index = 0; index < length; index++) if (this.#strings[own + index] !== strings[at + index]) return false;
    return true;
  }

  /** For a file without DT_GNU_HASH. */
  #hashAll(count: number): (hash: number) => readonly number[] {
    const rows = new Map<number, number[]>();
    for (let symbol = 1; symbol < count; symbol++) {
      const at = this.#nameAt(symbol);
      if (at >= this.#strings.length || !this.#isDefined(symbol)) continue;
      const hash = hashOf(this.#strings, at, this.#lengthAt(at));
      const row = rows.get(hash);
      if (row === undefined) rows.set(hash, [symbol]);
      else row.push(symbol);
    }
    return (hash) => rows.get(hash) ?? none;
  }
}

const tables = new WeakMap<ByteSource, SymbolTable>();

/** The symbols of a file, read once. @throws FlixwrapError `elf-malformed`. */
export function openSymbolTable(file: ElfFile): SymbolTable {
  let table = tables.get(file.source);
  if (table === undefined) {
    table = new SymbolTable(file);
    tables.set(file.source, table);
  }
  return table;
}

const none: readonly number[] = [];
const noSymbols: ReadonlySet<number> = new Set();

/** Without an exported symbol no tag tells how long the table is: then as many as relocations name. */
function countAll(file: ElfFile): number {
  if (lastValue(file, DT.SYMTAB) === undefined) return 0;
  const count = countSymbols(file);
  const gnu = lastValue(file, DT.HASH) === undefined ? openGnuHash(file) : undefined;
  const isWhole = gnu === undefined ? count > 0 : count > gnu.firstSymbol;
  return isWhole
    ? count
    : [...readRelocatedSymbols(file).all].reduce((most, symbol) => Math.max(most, symbol + 1), count);
}

/** DT_STRTAB as far as DT_STRSZ says and the segment is filled. */
function readStrings(file: ElfFile): Uint8Array {
  const address = lastValue(file, DT.STRTAB);
  const range = address === undefined ? undefined : locate(file, address);
  if (range === undefined) return new Uint8Array(0);
  return file.source.read(range.offset, Math.min(range.length, Number(lastValue(file, DT.STRSZ) ?? 0n)));
}

/** Candidates by DT_GNU_HASH, wholly in memory (glibc elf/dl-lookup.c, do_lookup_x). */
function openLookUp(file: ElfFile, count: number): ((hash: number) => readonly number[]) | undefined {
  const table = openGnuHash(file);
  if (table === undefined || table.buckets === 0 || table.bloomWords === 0) return undefined;
  const { buckets, firstSymbol, bloomWords, bloomShift, bucketsAt, chainsAt } = table;
  const hashed = Math.max(0, Math.min(count, table.most) - firstSymbol);
  const bytes = readMapped(file, lastValue(file, DT.GNU_HASH)!, chainsAt + hashed * 4, "GNU hash table");
  const words = readWords(bytes, file.endian === "little");
  const [firstBucket, firstChain, end] = [bucketsAt / 4, chainsAt / 4, firstSymbol + hashed];
  const [perWord, bitsOfWord] = file.bits === 64 ? [2, 6] : [1, 5];
  const swapped = file.bits === 64 && file.endian === "big" ? 1 : 0;
  // Every number stays a 32-bit integer, hence `>>> 0` even where it changes nothing: of a thousand lookups one finds
  // something, and where V8 took a number for a floating point one, its division would cost more than all the rest.
  const hasBit = (hash: number, bit: number): boolean => {
    const word = 4 + ((hash >>> bitsOfWord) % (bloomWords >>> 0)) * perWord;
    return ((words[word + (perWord === 2 ? ((bit >>> 5) & 1) ^ swapped : 0)]! >>> (bit & 31)) & 1) !== 0;
  };
  return (wanted) => {
    const hash = wanted >>> 0;
    if (!hasBit(hash, hash) || !hasBit(hash, hash >>> bloomShift)) return none;
    let symbol = words[firstBucket + (hash % (buckets >>> 0))]!;
    if (symbol < firstSymbol) return none;
    const found: number[] = [];
    for (; symbol < end; symbol++) {
      const link = words[firstChain + symbol - firstSymbol]!;
      if ((link | 1) === (hash | 1)) found.push(symbol);
      if ((link & 1) !== 0) break;
    }
    return found.length === 0 ? none : found;
  };
}

/** Words of 32 bits as numbers, whatever the machine's byte order; what does not fill the last one is left. */
function readWords(bytes: Uint8Array, little: boolean): Uint32Array {
  const view = viewOf(bytes);
  const words = new Uint32Array(bytes.length >>> 2);
  for (let index = 0; index < words.length; index++) words[index] = view.getUint32(index * 4, little);
  return words;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** {@link gnuHash} of a name in its bytes. */
function hashOf(bytes: Uint8Array, at: number, length: number): number {
  let hash = 5381;
  for (let index = at; index < at + length; index++) hash = (Math.imul(hash, 33) + bytes[index]!) >>> 0;
  return hash;
}
