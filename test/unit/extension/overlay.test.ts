import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ByteSource, ByteWrite } from "../../../src/core/bytes.ts";
import { overlaySource } from "../../../src/extension/overlay.ts";

/** Streams in chunks of a given size, so that writes fall on and across their borders. */
function chunkedSource(bytes: Uint8Array, chunk: number): ByteSource {
  return {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    stream: () => {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += chunk) chunks.push(bytes.subarray(at, at + chunk));
      return Readable.from(chunks, { objectMode: false });
    },
  };
}

const cases = fc
  .record({
    base: fc.uint8Array({ maxLength: 300 }),
    size: fc.nat(400),
    chunk: fc.integer({ min: 1, max: 64 }),
    cuts: fc.uniqueArray(fc.nat(400), { maxLength: 8 }),
    fill: fc.uint8Array({ minLength: 400, maxLength: 400 }),
  })
  .map(({ base, size, chunk, cuts, fill }) => {
    // Every second range between sorted cuts is a write: sorted and never overlapping.
    const bounds = [...cuts.filter((cut) => cut <= size).sort((a, b) => a - b)];
    const writes: ByteWrite[] = [];
    for (let i = 0; i + 1 < bounds.length; i += 2)
      writes.push({ offset: bounds[i]!, bytes: fill.subarray(bounds[i], bounds[i + 1]) });
    const wanted = new Uint8Array(size);
    wanted.set(base.subarray(0, size));
    for (const { offset, bytes } of writes) wanted.set(bytes, offset);
    return { base, size, chunk, writes, wanted };
  });

test("streams and reads what writing into a copy would give", async () => {
  await fc.assert(
    fc.asyncProperty(cases, fc.nat(400), fc.nat(400), async ({ base, size, chunk, writes, wanted }, offset, length) => {
      const before = Uint8Array.from(base);
      const source = overlaySource(chunkedSource(base, chunk), writes, size);
      expect(source.size).toBe(size);
      expect(Uint8Array.from(await buffer(source.stream()))).toEqual(wanted);
      expect(Uint8Array.from(source.read(offset, length))).toEqual(wanted.slice(offset, offset + length));
      expect(base).toEqual(before);
    }),
    { numRuns: 300 },
  );
});

test("refuses a write beyond the end", () => {
  expect(() =>
    overlaySource(chunkedSource(new Uint8Array(4), 4), [{ offset: 3, bytes: new Uint8Array(2) }], 4),
  ).toThrow(RangeError);
});
