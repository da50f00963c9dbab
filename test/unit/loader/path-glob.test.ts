import fc from "fast-check";
import { minimatch } from "minimatch";
import { expect, it } from "vitest";
import { compilePathGlob } from "../../../src/loader/path-glob.ts";

it.each([
  ["/usr/lib/*.so", "/usr/lib/a.so", true],
  ["/usr/lib/*.so", "/usr/lib/x/a.so", false],
  ["/usr/**/*.so", "/usr/lib/x/.a.so", true],
  ["/usr/**", "/usr/lib/x", true],
  ["/usr/lib/{a,b}?.so", "/usr/lib/b1.so", true],
  ["/usr/lib/[!a]*", "/usr/lib/abc", false],
  ["/usr/lib/@(a|b)", "/usr/lib/b", true],
  ["**", "a/b", true],
  ["*/x", "a/x", true],
])("%s and %s: %s", (pattern, path, wanted) => {
  expect(compilePathGlob(pattern)(path)).toBe(wanted);
});

it("is minimatch's language", () => {
  const piece = fc.constantFrom("a", "b", "-", ".", "*", "?", "[ab]", "[!a]", "{a,b}", "{a,}", "**");
  const part = fc.oneof(
    fc.array(piece, { minLength: 1, maxLength: 4 }).map((all) => all.join("")),
    fc.constant("**"),
  );
  const pattern = fc.array(part, { minLength: 1, maxLength: 4 }).map((all) => `/${all.join("/")}`);
  const name = fc.array(fc.constantFrom("a", "b", "-", "x"), { minLength: 1, maxLength: 5 }).map((all) => all.join(""));
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((all) => `/${all.join("/")}`);
  fc.assert(
    fc.property(pattern, path, (one, other) => {
      expect([one, other, compilePathGlob(one)(other)]).toEqual([one, other, minimatch(other, one, { dot: true })]);
    }),
    { numRuns: 3000 },
  );
});

it("takes no time for names that are made to take it", () => {
  const start = performance.now();
  const match = compilePathGlob("/usr/**/*-*-*-*-*-*.so");
  for (let n = 0; n < 1000; n++) expect(match(`/usr/lib/${"-".repeat(250)}.sx`)).toBe(false);
  expect(performance.now() - start).toBeLessThan(5000);
});
