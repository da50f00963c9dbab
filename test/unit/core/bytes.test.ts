import fc from "fast-check";
import { expect, test } from "vitest";
import { memorySource, windowedSource } from "../../../src/core/bytes.ts";

test("a windowed source reads the same bytes, in fewer reads", () => {
  const bytes = Uint8Array.from({ length: 40_000 }, (_, index) => (index * 7) % 251);
  const reads = fc.array(fc.tuple(fc.nat(45_000), fc.nat(9_000)), { minLength: 1 });
  fc.assert(
    fc.property(reads, fc.constantFrom(4096, 5000, 16_384), (asked, window) => {
      const windowed = windowedSource(memorySource(bytes), window, 2);
      for (const [offset, length] of asked)
        expect(Buffer.compare(windowed.read(offset, length), bytes.subarray(offset, offset + length))).toBe(0);
    }),
    { numRuns: 300 },
  );

  const source = memorySource(bytes);
  const asked: number[] = [];
  const counting = {
    ...source,
    read(offset: number, length: number) {
      asked.push(offset);
      return source.read(offset, length);
    },
  };
  const windowed = windowedSource(counting, 8192);
  for (let offset = 0; offset < 8000; offset += 16) windowed.read(offset, 16);
  expect(asked).toEqual([0]);
  // Four windows are kept, the fifth takes the place of the oldest.
  for (const offset of [8192, 16_384, 24_576, 0, 32_768, 16_384, 0]) windowed.read(offset, 10);
  expect(asked).toEqual([0, 8192, 16_384, 24_576, 32_768, 0]);
});
