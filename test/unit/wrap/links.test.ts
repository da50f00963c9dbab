import fc from "fast-check";
import { posix } from "node:path";
import { expect, test } from "vitest";
import { extPath } from "../../../src/core/paths.ts";
import { relativeLink } from "../../../src/wrap/links.ts";

test("a relative link leads to its goal, whatever both paths are", () => {
  const path = fc
    .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 5 })
    .map((parts) => extPath(parts.join("/")));
  fc.assert(
    fc.property(path, path, (from, to) => {
      const link = relativeLink(from, to);
      expect(link.startsWith("/")).toBe(false);
      expect(posix.resolve(posix.dirname(from), link)).toBe(to);
    }),
  );
});
