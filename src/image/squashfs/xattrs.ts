import { decodeName } from "../../core/names.ts";
import { cursorAt, damaged } from "../cursor.ts";
import { toReference } from "./superblock.ts";
import { cursorIn, type Image, readIndexed, readTable } from "./tables.ts";

/** Values by name, with the prefix of its namespace. */
export type Xattrs = ReadonlyMap<string, Uint8Array>;
/** Of an inode without attributes. */
export const noXattrs: Xattrs = new Map();
/** Bytes that an attribute takes in memory besides name and value. */
const ATTRIBUTE = 16;
const prefixes = ["user.", "trusted.", "security."];

/** The sets of extended attributes, by number, each read when it is asked for. */
export function readXattrs(image: Image): (index: number) => Xattrs {
  const { xattrTable } = image.head;
  if (xattrTable === undefined) return () => noXattrs;
  const where = `${image.name}, xattr table`;
  const header = cursorAt(image.source.read(xattrTable, 16), 0, where);
  const [valueStart, count] = [header.u64(), header.u32()];
  if (count === 0) return () => noXattrs;
  const first = cursorAt(image.source.read(xattrTable + 16, 8), 0, where).u64();
  const ids = readIndexed(image, xattrTable + 16, count * 16, "xattr table", xattrTable);
  const values = readTable(image, valueStart, first, "xattr values");
  return (index) => {
    if (index >= count) throw damaged(where, `number ${index}`, `below ${count}`);
    const id = cursorAt(ids.bytes, index * 16, where);
    const [low, high] = [id.u32(), id.u32()];
    const entries = id.u32();
    const cursor = cursorIn(values, toReference((BigInt(high) << 32n) | BigInt(low)));
    const found = new Map<string, Uint8Array>();
    // linux/xattr.h bounds a list at 64 KiB.
    if (entries > 65_536) throw damaged(where, `${entries} attributes`);
    for (let at = 0; at < entries; at++) {
      const type = cursor.u16();
      const key = (prefixes[type & 0xff] ?? "") + decodeName(cursor.bytes(cursor.u16()));
      const length = cursor.u32();
      let value = cursor.bytes(length);
      if ((type & 0x100) !== 0) {
        // The value stands elsewhere: a reference to it is here.
        const other = cursorIn(values, toReference(Buffer.from(cursorAt(value, 0, where).bytes(8)).readBigUInt64LE(0)));
        value = other.bytes(other.u32());
      }
      image.tally.meta(ATTRIBUTE + key.length + value.length, image.name);
      found.set(key, Uint8Array.from(value));
    }
    return found;
  };
}
