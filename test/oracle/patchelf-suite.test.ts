import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { debianSource } from "../support/debian-source.ts";

/**
 * patchelf's own scripts, from Debian's source package, against `flixwrap patchelf`. docs/patchelf.md gives the
 * reason for each that is not to pass; 0.14.3, Debian 12's, has none of them.
 */
const left = new Set(["shared-rpath"]);
/** Those look for another class or machine than this one's (and say so by exit status 77). */
const elsewhere = new Set(["set-rpath-rel-map", "remove-rld-map-rel", "large-page-dynamic"]);

it("patchelf's own tests pass", () => {
  const script = new URL("../corpus/patchelf-suite.mjs", import.meta.url).pathname;
  const args = [script, "--suite", debianSource("patchelf"), "--unskip", "--json"];
  const results = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as {
    name: string;
    result: string;
  }[];
  const wanted = results.filter(({ name }) => !left.has(name) && !name.startsWith("build-resolution-cache"));
  expect(wanted.filter(({ name, result }) => result !== "pass" && !elsewhere.has(name))).toEqual([]);
  expect(wanted.length).toBeGreaterThanOrEqual(44);
});
