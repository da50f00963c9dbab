import fc from "fast-check";
import { minimatch } from "minimatch";
import { describe, expect, test } from "vitest";
import { parseGlob } from "../../../src/loader/glob.ts";

const matches = (name: string, pattern: string): boolean => {
  const matcher = parseGlob(pattern);
  return typeof matcher === "string" ? matcher === name : matcher(name);
};

describe("globs of ld.so.conf", () => {
  test.each([
    ["*.conf", ["a.conf", "b.conf.conf"], [".a.conf", "a.conf~", "conf"]],
    ["?.conf", ["a.conf"], [".conf", "ab.conf"]],
    [".*.conf", [".a.conf"], ["a.conf"]],
    ["[a-c]*", ["abc", "c"], ["d", "A"]],
    ["[!a-c]*", ["d"], ["a"]],
    ["x[]]y", ["x]y"], ["xay"]],
    ["a\\*b", ["a*b"], ["axb"]],
    ["é*", ["été"], ["ete"]],
    ["[", ["["], ["x"]],
    ["**", ["ab"], [".ab"]],
  ])("%s", (pattern, yes, no) => {
    expect(yes.filter((name) => !matches(name, pattern))).toEqual([]);
    expect(no.filter((name) => matches(name, pattern))).toEqual([]);
  });

  test("as minimatch, for stars and question marks", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 });
    const pattern = fc.string({ unit: fc.constantFrom("a", "b", ".", "*", "?"), minLength: 1, maxLength: 8 });
    const options = { nobrace: true, noext: true, noglobstar: true, nocomment: true, nonegate: true } as const;
    fc.assert(
      fc.property(text, pattern, (name, glob) => {
        fc.pre(name !== "" && !/^\.{1,2}$/.test(name) && !/^\.{1,2}$/.test(glob));
        expect(matches(name, glob)).toBe(minimatch(name, glob, options));
      }),
      { numRuns: 2000 },
    );
  });

  test("answers at once whatever the pattern", () => {
    expect(matches("a".repeat(255), "*a".repeat(60) + "b")).toBe(false);
  });
});
