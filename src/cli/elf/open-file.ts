import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import type { ByteSource } from "../../core/bytes.ts";
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
    const pieces = openPieces(file, stat.size);
    return {
      source: { size: stat.size, read: pieces, stream: () => createReadStream(path) },
      close: () => closeSync(file),
    };
  } catch (error) {
    throw wordSystemError(error, "host-read", "cannot read the file", path);
  }
}

/**
 * What is asked for lies close together: the headers, the dynamic table, its strings. So more is read at once: core's
 * windowedSource over again, for that module brings Node's streams, which cost every start of `patchelf`.
 */
const windowSize = 16 << 10;
/** Windows that are kept. */
const windowsMax = 4;

function openPieces(file: number, size: number): ByteSource["read"] {
  const windows: { readonly start: number; readonly bytes: Uint8Array }[] = [];
  return (at, length) => {
    const end = Math.min(at + length, size);
    if (end - at > windowSize / 2) return readPiece(file, at, end - at);
    let window = windows.find(({ start, bytes }) => start <= at && end <= start + bytes.length);
    if (window === undefined) {
      window = { start: at, bytes: readPiece(file, at, Math.min(windowSize, size - at)) };
      windows.unshift(window);
      windows.length = Math.min(windows.length, windowsMax);
    }
    return window.bytes.subarray(at - window.start, Math.max(at, end) - window.start);
  };
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
