/**
 * Binary records by declaration: one `struct()` both reads and writes, for 32 and 64 bit and for either byte
 * order. Class and byte order are values at run time, never types.
 *
 * A `native` field (Elf32_Addr, Elf64_Off, Elf64_Xword ...) is a `bigint` in both classes: addresses use all 64 bits
 * (kernels live at 0xffffffff80000000), and arithmetic on them must not round or wrap. What is
 * used as a file offset passes through `readRange`, which bounds it and makes it a number.
 */

/** Class and byte order; every `ElfFile` is one. */
export interface Format {
  readonly bits: 32 | 64;
  readonly endian: "little" | "big";
}

type FieldType = "u8" | "u16" | "u32" | "native" | "ident";

interface Values {
  u8: number;
  u16: number;
  u32: number;
  native: bigint;
  /** The 16 bytes of e_ident. */
  ident: Uint8Array;
}

/** A declaration: the names and types of a record's fields. */
export type Fields = Readonly<Record<string, FieldType>>;
/** The record itself. */
export type RecordOf<F extends Fields> = { -readonly [K in keyof F]: Values[F[K]] };

/** A record type in both classes and byte orders. */
export interface Struct<F extends Fields> {
  /** In bytes. */
  size(format: Format): number;
  /** Where a field lies inside the record, in bytes. */
  offsetOf(format: Format, field: keyof F & string): number;
  /** The record at `at`; the caller has made sure that all its bytes are there. */
  read(format: Format, bytes: Uint8Array, at?: number): RecordOf<F>;
  /** As many whole records as `bytes` holds. */
  readAll(format: Format, bytes: Uint8Array): RecordOf<F>[];
  /** Whether all numbers in two records are equal. */
  isSame(one: Readonly<RecordOf<F>>, other: Readonly<RecordOf<F>>): boolean;
  /** The record's bytes. A value that does not fit its field is a RangeError: callers bound what they write. */
  write(format: Format, record: RecordOf<F>): Uint8Array;
}

/** What `read` returns and `write` takes. */
export type StructRecord<S> = S extends Struct<infer F> ? RecordOf<F> : never;

const widths = { u8: 1, u16: 2, u32: 4, ident: 16 } as const;
const limits = { u8: 0xff, u16: 0xffff, u32: 0xffffffff } as const;

interface Place {
  readonly name: string;
  readonly type: FieldType;
  readonly at: number;
}

/** Declares a record by its fields in ELF64 order; `order32` names them in ELF32 order where that differs. */
export function struct<const F extends Fields>(
  fields: F,
  order32: readonly (keyof F & string)[] = Object.keys(fields),
): Struct<F> {
  const names = Object.keys(fields);
  const layouts = { 32: placeFields(fields, order32, 4), 64: placeFields(fields, Object.keys(fields), 8) };
  const readAt = (format: Format, view: DataView, at: number): RecordOf<F> => {
    const little = format.endian === "little";
    const record: Record<string, Values[FieldType]> = {};
    for (const { name, type, at: offset } of layouts[format.bits].places) {
      record[name] = readField(view, at + offset, type, format.bits, little);
    }
    return record as RecordOf<F>;
  };
  return {
    size: (format) => layouts[format.bits].size,
    offsetOf: (format, field) => layouts[format.bits].places.find((place) => place.name === field)!.at,
    read: (format, bytes, at = 0) => readAt(format, viewOf(bytes), at),
    readAll(format, bytes) {
      const { size } = layouts[format.bits];
      const view = viewOf(bytes);
      const records: RecordOf<F>[] = [];
      for (let at = 0; at + size <= bytes.length; at += size) records.push(readAt(format, view, at));
      return records;
    },
    isSame: (one, other) => names.every((name) => one[name] === other[name]),
    write(format, record) {
      const { places, size } = layouts[format.bits];
      const bytes = new Uint8Array(size);
      const view = new DataView(bytes.buffer);
      for (const place of places) writeField(view, place, record[place.name]!, format);
      return bytes;
    },
  };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function placeFields(fields: Fields, order: readonly string[], nativeWidth: number): { places: Place[]; size: number } {
  let size = 0;
  const places = order.map((name) => {
    const type = fields[name]!;
    const place = { name, type, at: size };
    size += type === "native" ? nativeWidth : widths[type];
    return place;
  });
  return { places, size };
}

function readField(view: DataView, at: number, type: FieldType, bits: 32 | 64, little: boolean): Values[FieldType] {
  if (type === "native") return bits === 64 ? view.getBigUint64(at, little) : BigInt(view.getUint32(at, little));
  if (type === "ident") return new Uint8Array(view.buffer, view.byteOffset + at, widths.ident).slice();
  if (type === "u8") return view.getUint8(at);
  return type === "u16" ? view.getUint16(at, little) : view.getUint32(at, little);
}

function writeField(view: DataView, place: Place, value: Values[FieldType], format: Format): void {
  const { at, type } = place;
  const little = format.endian === "little";
  if (typeof value === "bigint") {
    if (value < 0n || value >= 1n << BigInt(format.bits)) throw new RangeError(`${place.name} does not hold ${value}`);
    if (format.bits === 64) view.setBigUint64(at, value, little);
    else view.setUint32(at, Number(value), little);
    return;
  }
  if (typeof value !== "number") {
    new Uint8Array(view.buffer, at, widths.ident).set(value);
    return;
  }
  const width = type as keyof typeof limits;
  if (!Number.isInteger(value) || value < 0 || value > limits[width]) {
    throw new RangeError(`${place.name} does not hold ${value}`);
  }
  if (width === "u8") view.setUint8(at, value);
  else if (width === "u16") view.setUint16(at, value, little);
  else view.setUint32(at, value, little);
}
