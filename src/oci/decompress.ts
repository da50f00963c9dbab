import { spawn } from "node:child_process";
import type { Transform } from "node:stream";
import zlib, { createGunzip, type Gunzip } from "node:zlib";
import { FlixwrapError } from "../core/errors.ts";
import { CHUNK } from "./file-source.ts";
import { splitFrames } from "./zstd-frames.ts";

/** How a stream is compressed, told by its first bytes. */
export type Compression = "none" | "gzip" | "zstd" | "xz" | "bzip2";

const magics: readonly (readonly [Compression, readonly number[], number[]?])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  // A skippable frame (0x184D2A50..5F, little-endian) may come first: RFC 8878, 3.1.2.
  ["zstd", [0x50, 0x2a, 0x4d, 0x18], [0xf0, 0xff, 0xff, 0xff]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
];
const MAGIC_LENGTH = 6;

/** By its first bytes: what the media type says is wrong too often. */
export function sniffCompression(head: Uint8Array): Compression {
  const found = magics.find(([, magic, mask]) =>
    magic.every((byte, at) => (head[at]! & (mask?.[at] ?? 0xff)) === byte),
  );
  return found?.[0] ?? "none";
}

/**
 * The uncompressed bytes. The input is always read to its end, so that a digest over it covers everything;
 * cut or damaged data, and anything but zeros after its end, is an error.
 * @throws FlixwrapError `oci-bad-compression`, `oci-no-decompressor`.
 */
export async function* decompress(chunks: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const input = chunks[Symbol.asyncIterator]();
  try {
    const head: Uint8Array[] = [];
    for (let length = 0; length < MAGIC_LENGTH;) {
      const next = await input.next();
      if (next.done) break;
      head.push(next.value);
      length += next.value.length;
    }
    const all = prepend(head, input);
    const compression = sniffCompression(Buffer.concat(head).subarray(0, MAGIC_LENGTH));
    if (compression === "none") yield* all;
    else if (compression === "gzip") yield* gunzip(all, what);
    else if (compression === "zstd" && createUnzstd !== undefined) yield* unzstd(all, what, createUnzstd);
    else yield* filter(compression, all, what);
  } finally {
    await input.return?.();
  }
}

async function* prepend(head: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* head;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

const damaged = (what: string, cause?: unknown): FlixwrapError =>
  new FlixwrapError("oci-bad-compression", { what: `damaged or truncated compressed data in ${what}` }, { cause });

/** Concatenated members are one stream (RFC 1952, 2.2); Node takes care of them. */
async function* gunzip(chunks: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const engine = createGunzip({ chunkSize: CHUNK });
  yield* through(engine, feed(engine, chunks, what), what);
}

/** What an engine makes of what it is fed with meanwhile. */
async function* through(engine: Transform, fed: Promise<void>, what: string): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  const feeding = fed.catch((error: unknown) => {
    failure = error;
    engine.destroy(error as Error);
  });
  try {
    for await (const chunk of engine) yield chunk as Uint8Array;
    await feeding;
    if (failure !== undefined) throw failure;
  } catch (error) {
    throw error instanceof FlixwrapError || !isZlibError(error) ? error : damaged(what, error);
  } finally {
    engine.destroy();
    await feeding;
  }
}

const isZlibError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && typeof error.code === "string" && /^(Z|ZSTD)_/.test(error.code);

/** Node stops quietly at whatever follows the last member: only zeros may. */
async function feed(engine: Gunzip, chunks: AsyncIterable<Uint8Array>, what: string): Promise<void> {
  const closed = new Promise<void>((resolve) => engine.once("close", resolve));
  let fed = 0;
  let ended = false;
  for await (const chunk of chunks) {
    let rest = chunk;
    if (!ended) {
      fed += chunk.length;
      await Promise.race([new Promise<void>((resolve) => engine.write(chunk, () => resolve())), closed]);
      if (engine.errored) return;
      rest = chunk.subarray(chunk.length - (fed - engine.bytesWritten));
      ended = rest.length > 0;
    }
    if (ended && rest.some((byte) => byte !== 0)) throw damaged(what);
  }
  // After the last member it has ended by itself, and ending it again would break it off.
  if (!ended) engine.end();
}

type CreateUnzstd = (options: { readonly chunkSize: number; readonly params: object }) => Transform;

/** Node has it since 22.15 and 23.8. */
const { createZstdDecompress: createUnzstd } = zlib as { readonly createZstdDecompress?: CreateUnzstd };

/** 128 MiB: the window a decoder must not exceed for untrusted frames (zstd --ultra writes no larger one). */
const WINDOW_LOG = 27;

async function* unzstd(
  chunks: AsyncIterable<Uint8Array>,
  what: string,
  create: CreateUnzstd,
): AsyncGenerator<Uint8Array> {
  const { ZSTD_d_windowLogMax: window = 100 } = zlib.constants as { readonly ZSTD_d_windowLogMax?: number };
  for await (const frame of splitFrames(chunks, () => damaged(what))) {
    const engine = create({ chunkSize: CHUNK, params: { [window]: WINDOW_LOG } });
    yield* through(engine, feedAll(engine, frame), what);
  }
}

async function feedAll(engine: Transform, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const closed = new Promise<void>((resolve) => engine.once("close", resolve));
  for await (const chunk of chunks) {
    await Promise.race([new Promise<void>((resolve) => engine.write(chunk, () => resolve())), closed]);
    if (engine.destroyed) return;
  }
  engine.end();
}

/** Through the program of that name: Node 20 has gzip only. */
async function* filter(
  program: "zstd" | "xz" | "bzip2",
  chunks: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array> {
  const options = { zstd: ["-dcq", `--memory=${2 ** (WINDOW_LOG - 20)}MB`], xz: ["-dcq"], bzip2: ["-dcq"] }[program];
  const child = spawn(program, options, { stdio: ["pipe", "pipe", "ignore"] });
  let failure: unknown;
  const exited = new Promise<number | null>((resolve) => {
    child.once("error", (cause) => {
      failure = new FlixwrapError(
        "oci-no-decompressor",
        { what: `${program} is required to read ${what}`, hint: `install ${program === "xz" ? "xz-utils" : program}` },
        { cause },
      );
      resolve(null);
    });
    child.once("close", resolve);
  });
  // The child may stop reading early: its exit status tells.
  child.stdin.on("error", () => undefined);
  const feeding = (async () => {
    for await (const chunk of chunks) {
      if (child.stdin.destroyed) continue;
      if (!child.stdin.write(chunk)) {
        await Promise.race([new Promise((resolve) => child.stdin.once("drain", resolve)), exited]);
      }
    }
    child.stdin.end();
  })().catch((error: unknown) => {
    failure ??= error;
    child.kill("SIGKILL");
  });
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    await feeding;
    const status = await exited;
    if (failure !== undefined) throw failure;
    if (status !== 0) throw damaged(what);
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}
