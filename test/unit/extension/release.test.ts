import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { type Release, formatRelease, parseName, parseRelease, planRelease } from "../../../src/extension/release.ts";

describe("parseName", () => {
  test.each(["b3sum", "a", "A-1.2_x+y", "kubernetes-v1.31", "x".repeat(237)])("takes %s", (name) => {
    expect(parseName(name)).toBe(name);
  });
  const bad: [string, string][] = [
    ["", "nothing"],
    ["a/b", "path"],
    ["/tmp/x", "path"],
    ["../t3b", "path"],
    [".", "dot"],
    ["..", "dot"],
    [".#lock", "dot"],
    [".hidden", "dot"],
    ["my ext", "space"],
    ["a\tb", "space"],
    ["a\nb", "space"],
    ["a\x07b", "control"],
    ["a\x9bb", "control"],
    ["-x", "character"],
    ["ünï", "character"],
    ["a$b", "character"],
    ["a:b", "character"],
    ["b3sum.raw", "ending"],
    ["x".repeat(238), "238"],
  ];
  test.each(bad)("refuses %j", (name, why) => {
    expect(() => parseName(name)).toThrow(why);
  });
});

describe("extension-release", () => {
  const rows: [string, Omit<Release, "name">, string][] = [
    ["any host", { architecture: "x86-64" }, "ID=_any\nARCHITECTURE=x86-64\n"],
    ["flatcar", { architecture: "arm64", os: "flatcar" }, "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=arm64\n"],
    ["flatcar locked", { os: "flatcar", versionId: "4593.2.0" }, "ID=flatcar\nVERSION_ID=4593.2.0\n"],
    ["another level", { os: "flatcar", sysextLevel: "2.0" }, "ID=flatcar\nSYSEXT_LEVEL=2.0\n"],
    ["any architecture", {}, "ID=_any\n"],
    ["reload", { reload: true }, "ID=_any\nEXTENSION_RELOAD_MANAGER=1\n"],
    ["scope", { scope: ["system", "initrd"] }, 'ID=_any\nSYSEXT_SCOPE="system initrd"\n'],
    [
      "restart",
      { restartUnits: ["a.service"], reloadOrRestartUnits: ["b.service", "c@1.service"] },
      'ID=_any\nEXTENSION_RESTART_UNITS=a.service\nEXTENSION_RELOAD_OR_RESTART_UNITS="b.service c@1.service"\n',
    ],
    ["notes", { notes: { FLIXWRAP_IMAGE: "r/a@sha256:0" } }, 'ID=_any\nFLIXWRAP_IMAGE="r/a@sha256:0"\n'],
  ];
  test.each(rows)("%s", (_, release, wanted) => {
    expect(formatRelease({ name: "n", ...release })).toBe(wanted);
  });

  test.each<Omit<Release, "name">>([
    { os: "Flatcar" },
    { os: "a b" },
    { versionId: "1\n2" },
    { architecture: "x86 64" },
    { scope: ["host"] },
    { restartUnits: ["a b.service"] },
    { notes: { "bad key": "" } },
  ])("refuses %j", (release) => {
    expect(() => formatRelease({ name: "n", ...release })).toThrow(/extension-release/);
  });

  test("stands where systemd looks", () => {
    expect(planRelease({ name: "foo" })).toMatchObject({
      kind: "write",
      to: "/usr/lib/extension-release.d/extension-release.foo",
      mode: 0o644,
    });
    expect(() => planRelease({ name: "a b" })).toThrow("space");
  });

  // os-release(5): the file is one that a shell can source.
  const values = ["plain", "", "two words", `quo"te`, "dollar $HOME `id`", "back\\slash", "a'b", "newline\nX=1"];
  test.each(values)("a shell reads %j back as parseRelease does", (value) => {
    const text = formatRelease({ name: "n", notes: { FLIXWRAP_NOTE: value } });
    const shell = execFileSync("sh", ["-c", `${text}\nprintf %s "$FLIXWRAP_NOTE"`], { encoding: "utf8" });
    expect(shell).toBe(value.replace("\n", " "));
    expect(parseRelease(text).get("FLIXWRAP_NOTE")).toBe(shell);
  });

  test("reads other people's files", () => {
    const text = '# comment\r\nID=debian\r\nNAME=\'A "b"\'\n bad line\nVERSION_ID="12"\nID=flatcar\n';
    expect(Object.fromEntries(parseRelease(text))).toEqual({ ID: "flatcar", NAME: 'A "b"', VERSION_ID: "12" });
  });
});
