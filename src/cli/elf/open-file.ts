import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { type ByteSource, windowedSource } from "../../core/bytes.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { wordSystemError } from "../../host/system-error.ts";

/** A file on disk, read by pieces. */
export interface FileOnDisk {
  readonly source: ByteSource;
  close(): void;
}

/**
 * Opens a regular file for reading by pieces.
 * @throws FlixwrapError `host-read`.
 */
export function openFile(path: string): FileOnDisk {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(file);
    if (!stat.isFile()) {
      closeSync(file);
      throw new FlixwrapError("host-read", { what: "not a regular file", where: path });
    }
    const { size } = stat;
    const read = (at: number, length: number): Uint8Array => readPiece(file, at, Math.min(length, size - at));
    return {
      // What is asked for lies close together: the headers, the dynamic table, its strings.
      source: windowedSource({ size, read, stream: () => createReadStream(path) }),
      close: () => closeSync(file),
    };
  } catch (error) {
    throw wordSystemError(error, "host-read", "cannot read the file", path);
  }
}

function readPiece(file: number, at: number, length: number): Uint8Array {
  const { buffer, byteOffset } = Buffer.allocUnsafe(Math.max(0, length));
  const bytes = new Uint8Array(buffer, byteOffset, Math.max(0, length));
  let done = 0;
  while (done < bytes.length) {
    const count = readSync(file, bytes, done, bytes.length - done, at + done);
    // The file has become shorter meanwhile.
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}
