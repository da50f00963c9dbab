import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

describe("pack refuses in one line and leaves nothing", () => {
  test.each<[string, (work: string) => string, RegExp]>([
    ["a folder that is not there", (work) => join(work, "nowhere"), /^pack: no such folder: \S+nowhere\n$/],
    [
      "an empty folder",
      (work) => mkdirSync(join(work, "empty"), { recursive: true })!,
      /^pack: the folder has nothing for an extension: \S+empty: wanted usr or opt/,
    ],
    [
      "a folder of /etc alone",
      (work) => {
        mkdirSync(join(work, "only/etc"), { recursive: true });
        writeFileSync(join(work, "only/etc/motd"), "");
        return join(work, "only");
      },
      /^pack: the folder has nothing for an extension: \S+only: wanted usr or opt/,
    ],
    [
      "a file",
      (work) => {
        writeFileSync(join(work, "file"), "text");
        return join(work, "file");
      },
      /^pack: .*\S+file.*\n$/,
    ],
  ])("%s", (_, make, told) => {
    const work = scratch();
    const output = join(work, "out/x.raw");
    mkdirSync(join(work, "out"));
    const { status, stdout, stderr } = flixwrap(["pack", "--quiet", "-o", output, make(work), "x"]);
    expect(stderr).toMatch(told);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect([status, stdout]).toEqual([1, ""]);
    expect(sh(`ls -A ${join(work, "out")}`)).toBe("");
  });
});
