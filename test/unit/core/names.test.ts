import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeName, encodeName } from "../../../src/core/names.ts";

test("every name of bytes survives the way in and out", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect([...encodeName(decodeName(bytes))]).toEqual([...bytes]);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  [[0x61], "a"],
  [[0xc3, 0xa9], "é"],
  [[0xf0, 0x9f, 0x8e, 0x89], "🎉"],
  [[0xe9], "\udce9"],
  [[0x61, 0xff, 0x62], "a\udcffb"],
  // A surrogate in UTF-8 (CESU) is not valid UTF-8: three escaped bytes, as Python has it.
  [[0xed, 0xa0, 0x80], "\udced\udca0\udc80"],
  // A byte order mark is part of the name.
  [[0xef, 0xbb, 0xbf, 0x61], "\ufeffa"],
])("%j reads as %j", (bytes, name) => {
  expect(decodeName(Uint8Array.from(bytes))).toBe(name);
});
