import fc from "fast-check";
import { posix } from "node:path";
import { expect, test } from "vitest";
import { baseName, extPath, isWithin, join, normalise, parentOf } from "../../../src/core/paths.ts";

test("normalise agrees with Node's path below the root", () => {
  const part = fc.constantFrom("a", "b.c", ".", "..", "", "é");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      expect(normalise(parts.join("/"))).toBe(posix.resolve("/", ...parts.map((name) => `./${name}`)));
    }),
  );
});

test.each([
  ["/", "/", ""],
  ["/usr", "/", "usr"],
  ["/usr/bin/x", "/usr/bin", "x"],
])("%s lies in %s under the name %s", (path, parent, base) => {
  expect(parentOf(extPath(path))).toBe(parent);
  expect(baseName(path)).toBe(base);
});

test.each([
  ["/usr/bin", "/usr", true],
  ["/usr", "/usr", true],
  ["/usrx", "/usr", false],
  ["/a", "/", true],
])("isWithin(%s, %s) is %s", (path, folder, answer) => {
  expect(isWithin(path, folder)).toBe(answer);
});

test("join never leaves the root", () => {
  expect(join(extPath("/usr"), "../../../etc/passwd")).toBe("/etc/passwd");
  expect(join(extPath("/"), "x")).toBe("/x");
});
