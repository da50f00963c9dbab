import { describe, expect, it } from "vitest";
import { holds, parseCondition } from "../../../src/recipes/condition.ts";
import { fillTemplate } from "../../../src/recipes/template.ts";

describe("fillTemplate", () => {
  it.each([
    ["x-{version}.tgz", "x-v1.2.tgz"],
    ["{version}{number}", "v1.21.2"],
    ["{a,b}/{version}", "{a,b}/v1.2"],
    ["{ a: {number} }", "{ a: 1.2 }"],
    ["${HOME} {}", "${HOME} {}"],
  ])("%s", (text, filled) => expect(fillTemplate(text, { version: "v1.2", number: "1.2" }, "here")).toBe(filled));

  it("does not fill what a value brings", () => {
    expect(fillTemplate("{a}", { a: "{b}", b: "x" }, "here")).toBe("{b}");
  });

  it("tells unknown names", () => {
    expect(() => fillTemplate("{verison}", { version: "1" }, "download")).toThrow(
      /\{verison\}, which has no value: download: wanted one of version/,
    );
  });
});

describe("conditions", () => {
  const values = { version: "v3.9.0", without: "docker", cni: "", flag: "false" };
  it.each([
    ["version >= 3.21.0", false],
    ["version < 3.21.0", true],
    ["version <= v3.9.0", true],
    ["version > 3.8.99", true],
    ["without == docker", true],
    ["without != docker", false],
    ["without", true],
    ["cni", false],
    ["!cni", true],
    ["flag", false],
    ["unheard-of", false],
    ["without and version > 1 and !cni", true],
    ["without and cni", false],
  ])("%s is %s", (condition, expected) => expect(holds(condition, values)).toBe(expected));

  it("none always holds", () => expect(holds(undefined, values)).toBe(true));

  it.each(["a = b", "a ==", "== b", "a or b", "A", ""])("refuses %s", (text) => {
    expect(() => parseCondition(text)).toThrow(/cannot be read/);
  });
});
