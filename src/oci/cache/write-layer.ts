import { createHash } from "node:crypto";
import { chmodSync } from "node:fs";
import { open } from "node:fs/promises";
import { checkDigest, type Digest } from "../digest.ts";
import { checkDigestInThread, inThisThread } from "./hash-thread.ts";
import { seal } from "./seal.ts";

/** Stored bytes from which a thread of its own for the digest pays. */
const LARGE = 16 << 20;

/**
 * Writes a new sealed file and checks it against `digest` on the way. A file that fails is left to the caller.
 * @param stored bytes as they come from the source, as far as they are known: a large layer is hashed by another thread.
 * @throws FlixwrapError `oci-digest-mismatch`; errors of the system and of `chunks`.
 */
export async function writeChecked(
  path: string,
  digest: Digest,
  chunks: AsyncIterable<Uint8Array>,
  stored: number,
): Promise<void> {
  const what = "an uncompressed layer";
  const check = stored >= LARGE ? checkDigestInThread(digest, what) : inThisThread(checkDigest(digest, what));
  const file = await open(path, "wx", 0o444);
  let size = 0;
  try {
    let writing: Promise<unknown> = Promise.resolve();
    for await (const chunk of chunks) {
      // The disk works while the next chunk is made.
      await writing;
      writing = writeAll(file, chunk);
      writing.catch(() => undefined);
      await check.update(chunk);
      size += chunk.length;
    }
    await writing;
    await check.finish();
    chmodSync(path, 0o444);
    seal(file.fd, size);
  } finally {
    check.close();
    await file.close();
  }
}

/** Writes a new sealed file and tells its digest. */
export async function writeHashed(path: string, chunks: Iterable<Uint8Array>): Promise<Digest> {
  const hash = createHash("sha256");
  const file = await open(path, "wx", 0o444);
  try {
    let size = 0;
    for (const chunk of chunks) {
      await writeAll(file, chunk);
      hash.update(chunk);
      size += chunk.length;
    }
    seal(file.fd, size);
  } finally {
    await file.close();
  }
  return `sha256:${hash.digest("hex")}`;
}

/** One write may take less than it was given. */
async function writeAll(
  file: { write: (chunk: Uint8Array, offset: number) => Promise<{ bytesWritten: number }> },
  chunk: Uint8Array,
): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
}
