import { describe, expect, test } from "vitest";
import { glibc, musl } from "../../../src/loader/index.ts";
import { expandTokens, parseRunPath } from "../../../src/loader/run-path.ts";

const values = { ORIGIN: "/opt/x", LIB: "lib64", PLATFORM: "x86_64" };

describe("run paths", () => {
  // Expected by elf/dl-load.c fillin_rpath and by ldso/dynlink.c fixup_rpath; the oracle tests run both loaders.
  test.each([
    { text: "", glibcs: [], musls: [] },
    { text: "/a:/b", glibcs: ["/a", "/b"], musls: ["/a", "/b"] },
    { text: "/a/:/b//:/", glibcs: ["/a", "/b", "/"], musls: ["/a", "/b", "/"] },
    { text: "/a:/a/:/a", glibcs: ["/a"], musls: ["/a"] },
    { text: ":/a::", glibcs: ["", "/a"], musls: ["/a"] },
    { text: "/a\n/b", glibcs: ["/a\n/b"], musls: ["/a", "/b"] },
    { text: "$ORIGIN/../lib", glibcs: ["/opt/x/../lib"], musls: ["/opt/x/../lib"] },
    { text: "${ORIGIN}lib:$ORIGINAL", glibcs: ["/opt/xlib", "$ORIGINAL"], musls: ["/opt/xlib", "/opt/xAL"] },
    { text: "/a:/$LIB", glibcs: ["/a", "/lib64"], musls: [] },
    { text: "/a/$PLATFORM:$", glibcs: ["/a/x86_64", "$"], musls: [] },
    { text: "${ORIGIN", glibcs: ["${ORIGIN"], musls: [] },
    { text: "lib", glibcs: ["lib"], musls: ["lib"] },
  ])("$text", ({ text, glibcs, musls }) => {
    expect(parseRunPath(text, glibc.runPath, values)).toEqual(glibcs);
    expect(parseRunPath(text, musl.runPath, values)).toEqual(musls);
  });

  test("an element with a token that has no value is dropped", () => {
    expect(parseRunPath("/a:/b/$PLATFORM:/c", glibc.runPath, { ORIGIN: "/" })).toEqual(["/a", "/c"]);
    expect(expandTokens("$LIB", glibc.runPath, {})).toBeUndefined();
  });
});
