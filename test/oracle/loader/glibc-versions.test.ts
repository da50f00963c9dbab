import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { checkSymbols, checkVersions, resolveClosure, wordMissingVersion } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";

const roots = new FixtureRoots("glibc");
afterAll(() => roots.remove());

interface Row {
  readonly title: string;
  readonly root: Readonly<Record<string, FixtureNode>>;
  /** What the live loader complains of: versions as it words them, symbols by name. */
  readonly complaints: readonly string[];
}

const notFound = (provider: string, version: string, object: string): string =>
  `${provider}: version \`${version}' not found (required by ${object})`;

/** Sets VER_FLG_WEAK in the Vernaux record of V2; 0x592 is its System V hash, then come flags and index. */
function markWeak(bytes: Buffer): void {
  const at = bytes.indexOf(Buffer.from([0x92, 0x05, 0, 0, 0, 0, 2, 0]));
  expect(at).toBeGreaterThan(0);
  bytes.writeUInt16LE(2, at + 4);
}

const versions: readonly Row[] = [
  {
    title: "a version that is there",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V1"] }], runpath: "/opt" },
      "/opt/liba.so": { versions: ["V1", "V2"] },
    },
    complaints: [],
  },
  {
    title: "two versions that are not there, of one library that is too old",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V1", "V2", "V3"] }], runpath: "/opt" },
      "/opt/liba.so": { versions: ["V1"] },
    },
    complaints: [notFound("/opt/liba.so", "V2", "/bin/p"), notFound("/opt/liba.so", "V3", "/bin/p")],
  },
  {
    title: "a library asks for what the one that was loaded for the program has not",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt" },
      "/opt/liba.so": { versions: ["V1"], soname: "liba.so" },
      "/opt/libb.so": { needs: [{ name: "liba.so", versions: ["V2"] }], runpath: "/srv" },
      "/srv/liba.so": { versions: ["V2"], soname: "liba.so" },
    },
    complaints: [notFound("/opt/liba.so", "V2", "/opt/libb.so")],
  },
  {
    title: "a library without versions serves all",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V1"] }], runpath: "/opt" },
      "/opt/liba.so": { code: "void at_V1(void) {}" },
    },
    complaints: [],
  },
  {
    title: "a version that was marked as weak may be absent",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V2"] }], runpath: "/opt", edit: markWeak },
      "/opt/liba.so": { versions: ["V1"] },
    },
    complaints: [],
  },
  {
    title: "a version under the same name in another library is none",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V1"] }, "libb.so"], runpath: "/opt" },
      "/opt/liba.so": { versions: ["V0"] },
      "/opt/libb.so": { versions: ["V1"] },
    },
    complaints: [notFound("/opt/liba.so", "V1", "/bin/p")],
  },
];

describe("symbol versions, against the loader of this machine", () => {
  test.each(versions)("$title", ({ root: nodes, complaints }) => {
    const root = roots.build(nodes);
    const live = roots
      .list(root, "/bin/p")
      .stderr.matchAll(/^\/bin\/p: (\S+: version .*not found \(required by .*\))$/gm);
    expect([...live].map(([, line]) => line).toSorted()).toEqual(complaints);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")]);
    expect(checkVersions(closure).map(wordMissingVersion).toSorted()).toEqual(complaints);
  });
});

const symbols: readonly Row[] = [
  {
    title: "a symbol that the library no longer has",
    root: {
      "/bin/p": {
        needs: [{ name: "liba.so", code: "void f(void) {} void g(void) {}" }],
        runpath: "/opt",
        code: "void f(void); void g(void); void *use[] = {f, g};",
      },
      "/opt/liba.so": { code: "void f(void) {}" },
    },
    complaints: ["g"],
  },
  {
    title: "a weak symbol may be absent",
    root: {
      "/bin/p": {
        needs: ["liba.so"],
        runpath: "/opt",
        code: "void f(void) __attribute__((weak)); void *use = f;",
      },
      "/opt/liba.so": {},
    },
    complaints: [],
  },
  {
    title: "a library finds what the program defines",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt", code: "void f(void) {}", ld: ["--export-dynamic"] },
      "/opt/liba.so": { code: "void f(void); void *use = f;" },
    },
    complaints: [],
  },
  {
    title: "a symbol in another version than the one asked for",
    root: {
      "/bin/p": { needs: [{ name: "liba.so", versions: ["V1"] }], runpath: "/opt" },
      "/opt/liba.so": { versions: ["V1", "V2"], code: "void at_V2(void) {} void at_V1_gone(void) {}" },
    },
    complaints: ["at_V1"],
  },
];

describe("symbols, against the loader of this machine", () => {
  test.each(symbols)("$title", ({ root: nodes, complaints }) => {
    const root = roots.build(nodes);
    const live = roots.bind(root, "/bin/p");
    const undefinedOnes = (live.stdout + live.stderr).matchAll(/undefined symbol: ([^\s,]+)/g);
    expect([...undefinedOnes].map(([, name]) => name)).toEqual(complaints);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")]);
    expect(checkSymbols(closure).map(({ symbol }) => symbol)).toEqual(complaints);
  });
});
