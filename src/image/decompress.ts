import zlib from "node:zlib";
import { FlixwrapError } from "../core/errors.ts";
import { runFilter } from "../host/filter.ts";
import { expandLz4 } from "./lz4.ts";

/**
 * Expands blocks that were compressed one by one; each gives at most `limit` bytes, and all but the last exactly
 * `limit` where `isFull` says so (tables), which lets a command expand them in one run.
 */
export type Expand = (blocks: readonly Uint8Array[], limit: number, isFull: boolean) => readonly Uint8Array[];

const eachBy =
  (expand: (block: Uint8Array, limit: number) => Uint8Array): Expand =>
  (blocks, limit) =>
    blocks.map((block) => expand(block, limit));

/** `zstd -d` and `xz -d` take concatenated frames: one run for a whole table. */
function byCommand(tool: string, packageName: string, args: readonly string[]): Expand {
  const run = (input: Uint8Array, limit: number) =>
    runFilter({ tool, package: packageName, purpose: `read ${tool}-compressed images`, args, input, limit });
  return (blocks, limit, isFull) => {
    if (!isFull || blocks.length < 2) return blocks.map((block) => run(block, limit));
    const all = run(Buffer.concat(blocks), limit * blocks.length);
    return blocks.map((_, at) => all.subarray(at * limit, (at + 1) * limit));
  };
}

/** Node has zstd since 22.15 and 23.8. */
type Zstd = (block: Uint8Array, options: { maxOutputLength: number }) => Buffer;
const zstd = (zlib as unknown as { readonly zstdDecompressSync?: Zstd }).zstdDecompressSync;

/** By the names that squashfs tools use. */
const expanders: Readonly<Record<string, Expand>> = {
  gzip: eachBy((block, limit) => zlib.inflateSync(block, { maxOutputLength: limit })),
  zstd:
    zstd === undefined
      ? byCommand("zstd", "zstd", ["-d", "-c", "-q"])
      : eachBy((block, limit) => zstd(block, { maxOutputLength: limit })),
  xz: byCommand("xz", "xz-utils", ["-d", "-c", "-q"]),
  lz4: eachBy(expandLz4),
  // erofs has it without zlib's header.
  deflate: eachBy((block, limit) => zlib.inflateRawSync(block, { maxOutputLength: limit })),
};

/** @throws FlixwrapError `pack-compression` for a compressor that cannot be read here. */
export function chooseExpander(name: string, where: string): Expand {
  const expand = expanders[name];
  if (expand === undefined)
    throw new FlixwrapError("pack-compression", { what: "cannot read the image's compression", where, got: name });
  return (blocks, limit, isFull) => {
    try {
      return expand(blocks, limit, isFull);
    } catch (error) {
      if (error instanceof FlixwrapError && error.code === "host-tool-missing") throw error;
      throw new FlixwrapError("pack-damaged-image", { what: "damaged compressed block", where }, { cause: error });
    }
  };
}
