import { createReadStream, closeSync, openSync, readSync } from "node:fs";
import { FlixwrapError } from "../core/errors.ts";

/** deb(5): an ar archive (ar.h) with a 60-byte header before each member, which are aligned to two bytes. */
const magic = "!<arch>\n";
const headerSize = 60;
/** A package has three members; signed ones a few more. */
const mostMembers = 16;

/** The compressed `data.tar.*` of a Debian package. @throws FlixwrapError `recipe-deb` */
export function dataOfPackage(path: string, name: string): AsyncIterable<Uint8Array> {
  const damaged = (what: string): FlixwrapError =>
    new FlixwrapError("recipe-deb", { what: `damaged Debian package, ${what}`, where: name });
  const fd = openSync(path, "r");
  try {
    const read = (at: number, length: number): string => {
      const bytes = Buffer.alloc(length);
      return bytes.toString("latin1", 0, readSync(fd, bytes, 0, length, at));
    };
    if (read(0, magic.length) !== magic) throw damaged("it does not begin as one");
    let at = magic.length;
    for (let count = 0; count < mostMembers; count++) {
      const header = read(at, headerSize);
      if (header.length < headerSize || !header.endsWith("`\n")) throw damaged(`no member at byte ${at}`);
      const size = /^\d+ *$/.test(header.slice(48, 58)) ? Number(header.slice(48, 58)) : -1;
      if (size < 0) throw damaged(`a size that is no number at byte ${at}`);
      at += headerSize;
      if (header.startsWith("data.tar") && size > 0) return createReadStream(path, { start: at, end: at + size - 1 });
      at += size + (size % 2);
    }
    throw damaged("no data.tar in it");
  } finally {
    closeSync(fd);
  }
}
