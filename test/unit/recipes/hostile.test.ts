import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { dataOfPackage } from "../../../src/recipes/deb.ts";
import { findRecipe } from "../../../src/recipes/recipe.ts";
import { parseReleases } from "../../../src/recipes/release-list.ts";
import { findSum } from "../../../src/recipes/sums.ts";
import { fetchVerified } from "../../../src/recipes/verify.ts";
import { listVersions } from "../../../src/recipes/versions.ts";
import type { Web } from "../../../src/recipes/web.ts";

const folder = mkdtempSync(join(tmpdir(), "flixwrap-hostile-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hex = "a".repeat(64);
const asset = "https://github.com/o/r/releases/download/v1/";

/** A web that answers every question with one text, and has any artifact. */
const saying = (text: string): Web => ({
  page: () => Promise.resolve({ text }),
  artifact: (address) => Promise.resolve({ address, path: "", sha256: hex, size: 1 }),
});

describe("what servers answer is a known error or nothing, never a bug", () => {
  it.each([
    ["nothing in the place of an asset", asset + "x", '{"assets":[null]}', undefined],
    ["a digest that is an object", asset + "x", '{"assets":[{"name":"x","digest":{"toString":1}}]}', undefined],
    [
      "a name that is not encoded",
      asset + "%ff%",
      '{"assets":[{"name":"%ff%","digest":"sha256:' + hex + '"}]}',
      "GitHub",
    ],
    ["no release", asset + "x", "null", /no release/],
  ])("GitHub: %s", async (_, address, text, wanted) => {
    const verified = fetchVerified(
      { address, verify: { kind: "checks", checks: [{ kind: "github" }] }, values: {} },
      saying(text),
    );
    if (wanted instanceof RegExp) await expect(verified).rejects.toThrow(wanted);
    else expect((await verified)?.verifiedBy?.split("'")[0]).toBe(wanted);
  });

  it("a list of a million entries that are none", async () => {
    const rules = { source: { kind: "github", repository: "o/r", list: "tags" }, prefix: "", pattern: "\\d+" } as const;
    const text = `[${"0,".repeat(1_000_000)}{"name":"7"}]`;
    expect(await listVersions(rules, { web: saying(text) })).toEqual(["7"]);
  });

  it.each([
    ["blanks after a digest", `${hex} x${" ".repeat(2_000_000)}x`],
    ["blanks after a BSD digest", `SHA256 (x) = ${hex}${" ".repeat(2_000_000)}x`],
    ["a million digests in one line", `SHA256 (${`) = ${hex}`.repeat(50_000)}x`],
  ])("a checksum file with %s takes no time", (_, text) => {
    const start = performance.now();
    expect(() => findSum(text, "y", "u")).toThrow(/no entry/);
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

describe("files of others are a known error, never a bug", () => {
  it("a Debian package whose data is empty", () => {
    const member = (name: string, size: number): string => `${name.padEnd(48)}${String(size).padEnd(10)}\`\n`;
    writeFileSync(join(folder, "x.deb"), `!<arch>\n${member("debian-binary", 0)}${member("data.tar", 0)}`);
    expect(() => dataOfPackage(join(folder, "x.deb"), "x.deb")).toThrow(/^damaged Debian package/);
  });

  it("a list of releases with an alias of nothing", () => {
    expect(() => parseReleases("- { name: *none, version: '1' }\n", "x.yaml")).toThrow(
      /^cannot read the list of releases: x\.yaml:1/,
    );
  });

  it("a file where a recipe's folder should be", () => {
    writeFileSync(join(folder, "file"), "");
    expect(() => findRecipe(join(folder, "file"), [])).toThrow(/no recipe\.yaml/);
  });
});
