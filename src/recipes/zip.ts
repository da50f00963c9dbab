import { pack } from "tar-stream";
import { type Entry, open, type ZipFile } from "yauzl";
import { FlixwrapError } from "../core/errors.ts";

/** APPNOTE.TXT 4.4.2: made on Unix, so that the upper half of the external attributes is st_mode. */
const madeOnUnix = 3;
const formatMask = 0o170000;
const linkFormat = 0o120000;
const longestLink = 4095;

/**
 * The content of a zip file as an uncompressed tar. Names are checked by yauzl (no absolute ones, no `..`).
 * @throws FlixwrapError `recipe-zip`, `recipe-too-large`
 */
export async function* tarOfZip(path: string, name: string, limit: number): AsyncGenerator<Uint8Array> {
  const damaged = (cause: unknown): FlixwrapError =>
    cause instanceof FlixwrapError
      ? cause
      : new FlixwrapError(
          "recipe-zip",
          { what: "damaged or unsafe zip file", where: name, got: (cause as Error).message },
          { cause },
        );
  const tar = pack();
  const zip = await openZip(path).catch((error: unknown) => {
    throw damaged(error);
  });
  let promised = 0;
  const copying = (async (): Promise<void> => {
    for await (const entry of entriesOf(zip)) {
      promised += entry.uncompressedSize;
      if (promised > limit)
        throw new FlixwrapError("recipe-too-large", {
          what: "the archive unpacks to far more than it is",
          where: name,
        });
      await addEntry(zip, entry, tar);
    }
    tar.finalize();
  })().catch((error: unknown) => tar.destroy(damaged(error)));
  try {
    yield* tar as AsyncIterable<Uint8Array>;
    await copying;
  } catch (error) {
    throw damaged(error);
  } finally {
    zip.close();
  }
}

function openZip(path: string): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    open(path, { lazyEntries: true, autoClose: false, strictFileNames: true }, (error, zip) =>
      error ? reject(error) : resolve(zip),
    );
  });
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | undefined>((resolve, reject) => {
      const settle = (act: () => void) => (): void => {
        zip.removeAllListeners("entry").removeAllListeners("end").removeAllListeners("error");
        act();
      };
      zip.once("entry", (found: Entry) => settle(() => resolve(found))());
      zip.once(
        "end",
        settle(() => resolve(undefined)),
      );
      zip.once("error", (error: Error) => settle(() => reject(error))());
      zip.readEntry();
    });
    if (entry === undefined) return;
    yield entry;
  }
}

async function addEntry(zip: ZipFile, entry: Entry, tar: ReturnType<typeof pack>): Promise<void> {
  const unixMode = entry.versionMadeBy >>> 8 === madeOnUnix ? entry.externalFileAttributes >>> 16 : 0;
  const mode = unixMode & 0o777 || 0o644;
  const header = { name: entry.fileName, mode, mtime: new Date(0) };
  if (entry.fileName.endsWith("/")) {
    tar.entry({ ...header, type: "directory" });
    return;
  }
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    zip.openReadStream(entry, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  if ((unixMode & formatMask) === linkFormat) {
    if (entry.uncompressedSize > longestLink) throw new Error("a link longer than a path can be");
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    tar.entry({ ...header, type: "symlink", linkname: Buffer.concat(chunks).toString("utf8") });
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const sink = tar.entry({ ...header, size: entry.uncompressedSize }, (error) => (error ? reject(error) : resolve()));
    stream.on("error", reject).pipe(sink);
  });
}
