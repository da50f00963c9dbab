import { describe, expect, it } from "vitest";
import type { FlixwrapError } from "../../../src/core/errors.ts";
import { parseRecipe } from "../../../src/recipes/read.ts";

const errorOf = (text: string): FlixwrapError => {
  try {
    parseRecipe(text, "x/recipe.yaml");
  } catch (error) {
    return error as FlixwrapError;
  }
  throw new Error("was taken");
};

const sound = `summary: x
versions: { github: a/b }
parts:
  - download: https://example.org/x-{version}
    verify: github
    to: /usr/bin/x
`;

it("makes short forms uniform", () => {
  const recipe = parseRecipe(sound, "r");
  expect(recipe.versions).toMatchObject({
    source: { kind: "github", repository: "a/b", list: "releases" },
    prefix: "",
  });
  expect(recipe.parts).toMatchObject([
    {
      kind: "download",
      verify: { kind: "checks", checks: [{ kind: "github" }] },
      strip: 0,
      inside: [],
      files: [{ from: "*", to: "/usr/bin/x", mode: 0o755 }],
    },
  ]);
});

it.each([
  ["755", 0o755],
  ["0644", 0o644],
  ['"0600"', 0o600],
])("reads mode %s by its digits", (text, mode) => {
  const recipe = parseRecipe(sound.replace("to: /usr/bin/x", `files: { x: { to: /usr/bin/, mode: ${text} } }`), "r");
  expect(recipe.parts![0]!.files[0]!.mode).toBe(mode);
});

describe("tells every mistake with its line and column", () => {
  it.each([
    ["broken YAML", "summary: x\nparts: [", /^this is not YAML: x\/recipe\.yaml:2:\d+: got /],
    ["two keys of a name", "summary: x\nsummary: y\n", /x\/recipe\.yaml:2:1.*unique/],
    ["no recipe", "- a\n", /x\/recipe\.yaml:1:1.*object/],
    [
      "an unknown key",
      "summary: x\nlicence: MIT\n",
      /^x\/recipe\.yaml:2:1: unknown key "licence"; did you mean "license"\?$/,
    ],
    [
      "an unknown key of a part",
      sound.replace("verify:", "verfy:"),
      /x\/recipe\.yaml:5:5: unknown key "verfy"; did you mean "verify"\?/,
    ],
    ["a missing key", "homepage: https://x.org\n", /x\/recipe\.yaml:1:1.*summary/],
    [
      "neither verify nor unverified",
      sound.replace("    verify: github\n", ""),
      /^x\/recipe\.yaml:4:5: a download needs either `verify` or `unverified`/,
    ],
    ["a target outside", sound.replace("/usr/bin/x", "/etc/x"), /^x\/recipe\.yaml:6:9: to: .*pattern/],
    [
      "two sources of versions",
      sound.replace("github: a/b", "github: a/b, gitlab: h/1"),
      /^x\/recipe\.yaml:2:11: versions need exactly one source .*github and gitlab/,
    ],
    [
      "a broken pattern",
      sound.replace("github: a/b", "github: a/b, match: '('"),
      /^x\/recipe\.yaml:2:33: match: .*group/i,
    ],
    [
      "a broken condition",
      sound.replace("to:", "when: a = b\n    to:"),
      /^x\/recipe\.yaml:6:11: this condition cannot be read/,
    ],
    [
      "a mode that is none",
      sound.replace("to: /usr/bin/x", "to: /usr/bin/x\n    mode: 9999"),
      /^x\/recipe\.yaml:7:11: mode 9999/,
    ],
    [
      "an option named as one of ours",
      `${sound}options:\n  arch: { help: x }\n`,
      /^x\/recipe\.yaml:8:9: arch is a name of flixwrap's own/,
    ],
    [
      "a digest that is none",
      sound.replace("verify: github", 'verify: { digests: { "1": { x86-64: "sha256:1" } } }'),
      /x\/recipe\.yaml:5:\d+/,
    ],
    [
      "an image that nothing is taken from",
      "summary: x\nversions: { fixed: ['1'] }\nparts:\n  - image: alpine\n",
      /^x\/recipe\.yaml:4:5: an image needs/,
    ],
    ["a recipe of a megabyte", `summary: ${"x".repeat(1 << 20)}\n`, /too large/],
    [
      "an alias bomb",
      `a: &a [${"x,".repeat(50)}]\n${Array.from({ length: 6 }, (_, at) => `b${at}: &b${at} [${`*${at === 0 ? "a" : `b${at - 1}`},`.repeat(40)}]`).join("\n")}\n`,
      /^this is not YAML: x\/recipe\.yaml: got .*alias/i,
    ],
    ["an alias of nothing", "summary: *none\n", /^this is not YAML: x\/recipe\.yaml: got .*alias/i],
    ["lists without end", `summary: ${"[".repeat(20_000)}`, /^this is not YAML: x\/recipe\.yaml:1:\d+: got /],
  ])("%s", (_, text, message) => {
    expect(errorOf(text).message).toMatch(message);
  });

  it("all of them at once", () => {
    const error = errorOf("summary: x\nlicence: MIT\nreload: 1\n");
    expect(error.facts.items).toHaveLength(2);
  });
});
