import { expect, test } from "vitest";
import { FlixwrapError, printable } from "../../../src/core/errors.ts";

test("an error says what, where, got, wanted and what to do, in one line", () => {
  const error = new FlixwrapError("oci-digest", {
    what: "a layer is damaged",
    where: "example.org/a",
    got: "sha256:1",
    wanted: "sha256:2",
    hint: "try again",
  });
  expect(error.message).toBe("a layer is damaged: example.org/a: got sha256:1, wanted sha256:2; try again");
});

test("items stand on lines of their own, and hostile names cannot move the cursor", () => {
  const error = new FlixwrapError("wrap-x", {
    what: "bad names",
    items: ["a\u001b[2Jb", "c\nd", "\udce9", "\u009b2J", "a\u202egnp"],
  });
  const lines = ["  a\\x1b[2Jb", "  c\\x0ad", "  \\xe9", "  \\x9b2J", "  a\\u202egnp"];
  expect(error.message.split("\n")).toEqual(["bad names", ...lines]);
});

test("thousands of items are no thousands of lines", () => {
  const items = Array.from({ length: 5000 }, (_, at) => `platform ${at}`);
  const error = new FlixwrapError("oci-platform", { what: "no such platform", items });
  expect(error.message.split("\n").slice(-2)).toEqual(["  platform 199", "  and 4800 more"]);
  expect(error.facts.items).toHaveLength(5000);
});

test("ordinary text stays as it is", () => {
  expect(printable("/usr/bin/größe 🎉")).toBe("/usr/bin/größe 🎉");
});
