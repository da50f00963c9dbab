import fc from "fast-check";
import { expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { openOverlay } from "../../../src/elf/overlay.ts";

const bytes = (maxLength: number) => fc.uint8Array({ maxLength, max: 2 }).map((array) => Uint8Array.from(array));

it("has the effect of all writes in their order, by sorted writes that change something", () => {
  fc.assert(
    fc.property(
      bytes(200),
      fc.array(fc.tuple(fc.nat(220), bytes(60)), { maxLength: 8 }),
      fc.nat(260),
      (source, writes, size) => {
        const overlay = openOverlay(memorySource(source));
        const wanted = new Uint8Array(600);
        wanted.set(source);
        for (const [offset, data] of writes) {
          overlay.write(offset, data);
          wanted.set(data, offset);
        }
        const end = Math.max(source.length, size);
        const result = new Uint8Array(end);
        result.set(source);
        let last = -1;
        for (const write of overlay.finish(end)) {
          expect(write.offset).toBeGreaterThan(last);
          expect(write.bytes[0] === source[write.offset] && write.offset < source.length).toBe(false);
          last = write.offset + write.bytes.length;
          expect(last).toBeLessThanOrEqual(end);
          result.set(write.bytes, write.offset);
        }
        expect(result).toEqual(wanted.subarray(0, end));
      },
    ),
    { numRuns: 2000 },
  );
});
