import { DT, PF, PT, SHT } from "../../../src/elf/constants.ts";
import type { Format } from "../../../src/elf/layout.ts";
import { Dyn, Ehdr, Phdr, Shdr, Sym, Vernaux, Verneed } from "../../../src/elf/structs.ts";
import { sysvHash } from "../../../src/elf/symbols.ts";

/** A small dynamic ELF file of any class and byte order, for tests that need no compiler of that machine. */
export interface ElfShape extends Format {
  readonly machine?: number;
  readonly type?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  /** Spare DT_NULL slots behind the terminator. */
  readonly spare?: number;
  /** Further entries of the dynamic table. */
  readonly dynamic?: readonly { readonly tag: number; readonly value: bigint }[];
  /** Unused bytes behind the read-only segment. */
  readonly slack?: number;
  readonly sections?: boolean;
  readonly note?: boolean;
  /** `[library, version]` that symbol 1 needs. */
  readonly version?: readonly [string, string];
  /** More program headers of type PT_NULL, and more empty sections. */
  readonly emptySegments?: number;
  readonly emptySections?: number;
}

const page = 0x1000;
const base = 0x10000n;

export function buildElf(shape: ElfShape): Uint8Array {
  const { spare = 4, slack = 256, sections = true, note = true, emptySegments = 0, emptySections = 0 } = shape;
  const machine = shape.machine ?? (shape.bits === 64 ? 62 : 3);
  const strings = new StringList();
  const symbolName = strings.add("symbol");
  const entries: { tag: number; value: bigint }[] = [
    ...(shape.needed ?? []).map((name) => ({ tag: DT.NEEDED, value: strings.add(name) })),
    ...(shape.soname === undefined ? [] : [{ tag: DT.SONAME, value: strings.add(shape.soname) }]),
    ...(shape.rpath === undefined ? [] : [{ tag: DT.RPATH, value: strings.add(shape.rpath) }]),
    ...(shape.runpath === undefined ? [] : [{ tag: DT.RUNPATH, value: strings.add(shape.runpath) }]),
    ...(shape.dynamic ?? []),
  ];
  const version = shape.version && { file: strings.add(shape.version[0]), name: strings.add(shape.version[1]) };

  // PT_INTERP, PT_LOAD twice, PT_DYNAMIC, PT_NOTE.
  const count = 3 + (shape.interpreter === undefined ? 0 : 1) + (note ? 1 : 0) + emptySegments;
  const parts: {
    name: string;
    type: number;
    at: number;
    bytes: Uint8Array;
    link?: string;
    info?: number;
    entsize?: number;
  }[] = [];
  let end = Ehdr.size(shape) + count * Phdr.size(shape);
  const place = (
    name: string,
    type: number,
    bytes: Uint8Array,
    more: { link?: string; info?: number; entsize?: number } = {},
  ): number => {
    const at = Math.ceil(end / 8) * 8;
    parts.push({ name, type, at, bytes, ...more });
    end = at + bytes.length;
    return at;
  };
  const words = (...values: number[]): Uint8Array => {
    const bytes = new Uint8Array(values.length * 4);
    const view = new DataView(bytes.buffer);
    values.forEach((value, index) => view.setUint32(index * 4, value, shape.endian === "little"));
    return bytes;
  };
  const interp =
    shape.interpreter === undefined ? 0 : place(".interp", SHT.PROGBITS, Buffer.from(`${shape.interpreter}\0`));
  const noteAt = note
    ? place(".note.test", SHT.NOTE, Buffer.concat([words(4, 4, 3), Buffer.from("GNU\0\x01\x02\x03\x04")]))
    : 0;
  const empty = { name: 0, info: 0, other: 0, shndx: 0, value: 0n, size: 0n };
  const symbols = Buffer.concat([
    Sym.write(shape, empty),
    Sym.write(shape, {
      ...empty,
      name: Number(symbolName),
      info: 0x12,
      shndx: version ? 0 : 1,
      value: version ? 0n : base,
    }),
  ]);
  const dynsym = place(".dynsym", SHT.DYNSYM, symbols, { link: ".dynstr", info: 1, entsize: Sym.size(shape) });
  const hash = place(".hash", SHT.HASH, words(1, 2, 1, 0, 0), { link: ".dynsym", entsize: 4 });
  if (version) {
    const index = new Uint8Array(4);
    new DataView(index.buffer).setUint16(2, 2, shape.endian === "little");
    const versym = place(".gnu.version", SHT.GNU_VERSYM, index, { link: ".dynsym", entsize: 2 });
    const need = Verneed.write(shape, { version: 1, cnt: 1, file: Number(version.file), aux: 16, next: 0 });
    const aux = Vernaux.write(shape, {
      hash: sysvHash(shape.version[1]),
      flags: 0,
      other: 2,
      name: Number(version.name),
      next: 0,
    });
    const verneed = place(".gnu.version_r", SHT.GNU_VERNEED, Buffer.concat([need, aux]), { link: ".dynstr", info: 1 });
    entries.push(
      { tag: DT.VERSYM, value: base + BigInt(versym) },
      { tag: DT.VERNEED, value: base + BigInt(verneed) },
      { tag: DT.VERNEEDNUM, value: 1n },
    );
  }
  const dynstr = place(".dynstr", SHT.STRTAB, strings.bytes());
  entries.push(
    { tag: DT.HASH, value: base + BigInt(hash) },
    { tag: DT.SYMTAB, value: base + BigInt(dynsym) },
    { tag: DT.SYMENT, value: BigInt(Sym.size(shape)) },
    { tag: DT.STRTAB, value: base + BigInt(dynstr) },
    { tag: DT.STRSZ, value: BigInt(strings.bytes().length) },
  );
  const firstEnd = end;
  end += slack;
  const slots = [...entries, ...Array.from({ length: spare + 1 }, () => ({ tag: 0, value: 0n }))];
  const table = Buffer.concat(slots.map(({ tag, value }) => Dyn.write(shape, { tag: BigInt(tag), value })));
  const dynamic = place(".dynamic", SHT.DYNAMIC, table, { link: ".dynstr", entsize: Dyn.size(shape) });
  const secondAddress = base + BigInt(Math.ceil(end / page) * page + dynamic);

  const load = { type: PT.LOAD, align: BigInt(page) };
  const span = (offset: number, size: number, vaddr = base + BigInt(offset)) => ({
    offset: BigInt(offset),
    vaddr,
    paddr: vaddr,
    filesz: BigInt(size),
    memsz: BigInt(size),
  });
  const segments: Phdr[] = [
    ...(shape.interpreter === undefined
      ? []
      : [{ type: PT.INTERP, flags: PF.R, align: 1n, ...span(interp, shape.interpreter.length + 1) }]),
    { ...load, flags: PF.R | PF.X, ...span(0, firstEnd) },
    { ...load, flags: PF.R | PF.W, ...span(dynamic, table.length, secondAddress) },
    { type: PT.DYNAMIC, flags: PF.R | PF.W, align: 8n, ...span(dynamic, table.length, secondAddress) },
    ...(note ? [{ type: PT.NOTE, flags: PF.R, align: 4n, ...span(noteAt, 20) }] : []),
    ...Array.from({ length: emptySegments }, () => ({ type: PT.NULL, flags: 0, align: 0n, ...span(0, 0, 0n) })),
  ];

  const names = new StringList();
  const isLarge = 2 + parts.length + emptySections >= 0xff00;
  const headers: Shdr[] = [];
  if (sections) {
    const zero: Shdr = {
      name: 0,
      type: 0,
      flags: 0n,
      addr: 0n,
      offset: 0n,
      size: 0n,
      link: 0,
      info: 0,
      addralign: 0n,
      entsize: 0n,
    };
    headers.push({ ...zero });
    for (const part of parts) {
      const addr = part.name === ".dynamic" ? secondAddress : base + BigInt(part.at);
      headers.push({
        ...zero,
        name: Number(names.add(part.name)),
        type: part.type,
        flags: part.name === ".dynamic" ? 3n : 2n,
        addr,
        offset: BigInt(part.at),
        size: BigInt(part.bytes.length),
        link: part.link === undefined ? 0 : 1 + parts.findIndex(({ name }) => name === part.link),
        info: part.info ?? 0,
        addralign: part.type === SHT.STRTAB || part.name === ".interp" ? 1n : 4n,
        entsize: BigInt(part.entsize ?? 0),
      });
    }
    for (let index = 0; index < emptySections; index++) headers.push({ ...zero, type: SHT.PROGBITS, addralign: 1n });
    const name = Number(names.add(".shstrtab"));
    const at = place(".shstrtab", SHT.STRTAB, names.bytes());
    headers.push({
      ...zero,
      name,
      type: SHT.STRTAB,
      offset: BigInt(at),
      size: BigInt(names.bytes().length),
      addralign: 1n,
    });
    // Extended numbering: the counts stand in section 0 (gABI chapter 4).
    if (isLarge) Object.assign(headers[0]!, { size: BigInt(headers.length), link: headers.length - 1 });
    if (segments.length >= 0xffff) headers[0]!.info = segments.length;
  }
  const shoff = sections ? Math.ceil(end / 8) * 8 : 0;
  const bytes = new Uint8Array(sections ? shoff + headers.length * Shdr.size(shape) : end);
  const ident = new Uint8Array(16);
  ident.set([0x7f, 0x45, 0x4c, 0x46, shape.bits === 64 ? 2 : 1, shape.endian === "little" ? 1 : 2, 1]);
  bytes.set(
    Ehdr.write(shape, {
      ident,
      type: shape.type ?? 3,
      machine,
      version: 1,
      entry: 0n,
      phoff: BigInt(Ehdr.size(shape)),
      shoff: BigInt(shoff),
      flags: 0,
      ehsize: Ehdr.size(shape),
      phentsize: Phdr.size(shape),
      phnum: Math.min(segments.length, 0xffff),
      shentsize: Shdr.size(shape),
      shnum: isLarge ? 0 : headers.length,
      shstrndx: sections ? (isLarge ? 0xffff : headers.length - 1) : 0,
    }),
  );
  segments.forEach((segment, index) =>
    bytes.set(Phdr.write(shape, segment), Ehdr.size(shape) + index * Phdr.size(shape)),
  );
  for (const part of parts) bytes.set(part.bytes, part.at);
  headers.forEach((header, index) => bytes.set(Shdr.write(shape, header), shoff + index * Shdr.size(shape)));
  return bytes;
}

class StringList {
  readonly #strings: string[] = [""];

  add(text: string): bigint {
    const at = this.#strings.indexOf(text);
    if (at < 0) this.#strings.push(text);
    const index = this.#strings.indexOf(text);
    return BigInt(this.#strings.slice(0, index).reduce((sum, one) => sum + Buffer.byteLength(one) + 1, 0));
  }

  bytes(): Uint8Array {
    return Buffer.from(`${this.#strings.join("\0")}\0`);
  }
}
