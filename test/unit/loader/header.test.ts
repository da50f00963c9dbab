import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeHeader } from "../../../src/loader/header.ts";

test("any 64 bytes are judged, for machines of both classes and byte orders", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.record({
        bits: fc.constantFrom(32 as const, 64 as const),
        endian: fc.constantFrom("little" as const, "big" as const),
        machine: fc.nat(65535),
      }),
      (bytes, machine) => {
        const verdict = judgeHeader(bytes, machine);
        expect(verdict === "fits" || verdict === "foreign" || verdict.defect.length > 0).toBe(true);
      },
    ),
  );
});

test("the header of a big-endian 32-bit library fits its own machine alone", () => {
  const header = new Uint8Array(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 1, 2, 1, 0]);
  const view = new DataView(header.buffer);
  view.setUint16(16, 3);
  view.setUint16(18, 20);
  view.setUint32(20, 1);
  view.setUint16(42, 32);
  expect(judgeHeader(header, { bits: 32, endian: "big", machine: 20 })).toBe("fits");
  expect(judgeHeader(header, { bits: 32, endian: "big", machine: 21 })).toBe("foreign");
  expect(judgeHeader(header, { bits: 64, endian: "big", machine: 20 })).toBe("foreign");
  expect(judgeHeader(header, { bits: 32, endian: "little", machine: 20 })).toHaveProperty("defect");
});
