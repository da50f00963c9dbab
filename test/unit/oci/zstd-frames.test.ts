import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FlixwrapError } from "../../../src/core/errors.ts";
import { splitFrames } from "../../../src/oci/zstd-frames.ts";

const zstd = (input: Buffer, ...words: string[]): Buffer =>
  execFileSync("zstd", ["-qc", ...words], { input, maxBuffer: 1 << 28 });
/** RFC 8878, 3.1.2. */
const skippable = Buffer.concat([Buffer.from("5f2a4d1805000000", "hex"), Buffer.from("12345")]);
const text = Buffer.from("one two three ".repeat(9000));
const frames = {
  usual: zstd(text),
  "with a checksum": zstd(text, "--check"),
  "without one": zstd(text, "--no-check"),
  "of zeros": zstd(Buffer.alloc(3 << 20)),
  "that cannot be made smaller": zstd(randomBytes(700_000)),
  empty: zstd(Buffer.alloc(0)),
  "of one byte": zstd(Buffer.from("x"), "--stream-size=1"),
  "whose size is known": zstd(text, `--stream-size=${text.length}`),
  "with a large window": zstd(text, "--ultra", "-22"),
};

async function split(input: Buffer, piece: number): Promise<Buffer[]> {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < input.length; at += piece) yield input.subarray(at, at + piece);
  }
  const found: Buffer[] = [];
  for await (const frame of splitFrames(pieces(), () => new FlixwrapError("oci-bad-compression", { what: "cut" }))) {
    const bytes: Buffer[] = [];
    for await (const one of frame) bytes.push(one);
    found.push(Buffer.concat(bytes));
  }
  return found;
}

describe.each(Object.entries(frames))("a frame %s", (_, frame) => {
  it.each([frame.length < 5000 ? 1 : 997, 4096, 1 << 20])(
    "is found between others, in pieces of %d bytes",
    async (piece) => {
      const all = Buffer.concat([skippable, frame, frames.usual, skippable, frame, skippable]);
      expect(await split(all, piece)).toEqual([frame, frames.usual, frame]);
    },
  );

  it("is damaged when it is cut anywhere", async () => {
    for (const length of [1, 3, 4, 5, 8, frame.length - 1].filter((one) => one < frame.length)) {
      await expect(split(frame.subarray(0, length), 4096)).rejects.toMatchObject({ code: "oci-bad-compression" });
    }
    await expect(split(Buffer.concat([frame, Buffer.from("junk")]), 4096)).rejects.toThrow("cut");
  });
});
