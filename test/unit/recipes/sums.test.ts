import { describe, expect, it } from "vitest";
import { findSum } from "../../../src/recipes/sums.ts";

const a = "a".repeat(64);
const b = "b".repeat(64);
const long = "c".repeat(128);

describe("findSum", () => {
  it.each([
    ["coreutils", `${b}  y\n${a}  x.tgz\n`],
    ["coreutils, binary", `${b} *y\n${a} *x.tgz\n`],
    ["one blank", `${a} x.tgz\n`],
    ["a path before the name", `${a}  ./x.tgz\n`],
    ["a deeper path", `${b}  dist/other/y\n${a}  dist/x.tgz\n`],
    ["BSD", `SHA256 (y) = ${b}\nSHA256 (x.tgz) = ${a}\n`],
    ["BSD without a blank", `SHA256(x.tgz) = ${a}\n`],
    ["the digest alone", `${a}\n`],
    ["the digest alone, no end of line", a],
    ["capitals", `${a.toUpperCase()}  x.tgz\n`],
    ["Windows' line ends", `${b}  y\r\n${a}  x.tgz\r\n`],
    [
      "a signed text",
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${a}  x.tgz\n-----BEGIN PGP SIGNATURE-----\nabc\n`,
    ],
    ["an exact name beside one with a path", `${b}  old/x.tgz\n${a}  x.tgz\n`],
    ["the same line twice", `${a}  x.tgz\n${a}  x.tgz\n`],
  ])("reads %s", (_, text) => {
    expect(findSum(text, "x.tgz", "u")).toEqual({ algorithm: "sha256", hex: a, source: "u" });
  });

  it("knows sha512 by its length", () => {
    expect(findSum(`${long}  x`, "x", "u").algorithm).toBe("sha512");
  });

  it.each([
    ["no entry of the name", `${a}  x.tgz.asc\n${b}  xx.tgz\n`, /no entry for x\.tgz.*x\.tgz\.asc, xx\.tgz/],
    ["another name in a sidecar", `${a}  y\n`, /no entry/],
    ["two digests for one name", `${a}  x.tgz\n${b}  x.tgz\n`, /2 different digests/],
    ["several digests without names", `${a}\n${b}\n`, /2 digests without names/],
    ["md5", `${"d".repeat(32)}  x.tgz\n`, /no entry/],
    ["a web page", "<html>not found</html>", /no entry/],
  ])("refuses %s", (_, text, message) => {
    expect(() => findSum(text, "x.tgz", "https://e.org/sums")).toThrow(message);
  });
});
