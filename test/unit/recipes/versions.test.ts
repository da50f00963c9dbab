import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { VersionRules } from "../../../src/recipes/format.ts";
import { readRecipe } from "../../../src/recipes/recipe.ts";
import { parseRecipe } from "../../../src/recipes/read.ts";
import { selectValues } from "../../../src/recipes/select.ts";
import {
  latestVersions,
  listPublished,
  listVersions,
  publishedVersions,
  spellVersion,
  type VersionSources,
} from "../../../src/recipes/versions.ts";
import { portsTo } from "../../support/recipes.ts";
import { serveUpstream, upstreams } from "../../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../../support/web-mirror.ts";

let mirror: WebMirror;
let cache: string;
let sources: VersionSources;
beforeAll(async () => {
  mirror = await openWebMirror();
  cache = mkdtempSync(join(tmpdir(), "flixwrap-versions-"));
  sources = { ...portsTo(mirror, cache), printed: (image) => Promise.resolve(upstreams["tilde"]!.printed![image]!) };
  for (const upstream of Object.values(upstreams)) serveUpstream(mirror, { ...upstream, files: () => [] });
});
afterAll(async () => {
  await mirror.close();
  rmSync(cache, { recursive: true, force: true });
});

const rules = (yaml: string): VersionRules => parseRecipe(`summary: x\nversions: ${yaml}\n`, "r").versions!;

/** Recipe -> versions from the upstream table's lists, newest first; `latest` where it is not just the first. */
const known: Readonly<Record<string, { readonly list: readonly string[]; readonly latest?: readonly string[] }>> = {
  bird: { list: ["3.1.10", "3.1.2", "2.0.12"] },
  btop: { list: ["1.4.0"] },
  chrony: { list: ["4.8", "4.7"] },
  cilium: { list: ["v0.18.2", "v0.16.24"] },
  "cloud-hypervisor": { list: ["v45.0", "v44.0", "v9.0"] },
  coder: { list: ["v2.20.0", "v2.9.3"] },
  consul: { list: ["1.21.4", "1.9.0"] },
  containerd: {
    list: ["2.1.4", "2.1.3", "2.0.6", "1.7.28", "1.6.39", "1.5.18", "1.4.13"],
    latest: ["2.1.4", "2.0.6", "1.7.28", "1.6.39", "1.5.18"],
  },
  crio: { list: ["v1.33.3", "v1.33.2"] },
  dataplaneapi: { list: ["v3.1.1", "v3.0.4"] },
  docker: { list: ["27.1.2", "24.0.9", "9.0.0"] },
  "docker-buildx": { list: ["0.25.0", "0.9.1"] },
  "docker-compose": { list: ["2.24.5", "2.22.0"] },
  falco: { list: ["0.39.1", "0.9.0"] },
  haproxy: { list: ["3.2.4", "3.2.0", "3.0.11", "3.0.9"], latest: ["3.2.4", "3.0.11"] },
  ig: { list: ["v0.38.1", "v0.9.0"] },
  k3s: {
    list: ["v1.32.10+k3s2", "v1.32.10+k3s1", "v1.32.2+k3s1", "v1.31.6+k3s1", "v1.30.1+k3s1", "v1.20.1+k3s1"],
    latest: ["v1.32.10+k3s2", "v1.31.6+k3s1", "v1.30.1+k3s1"],
  },
  "kata-containers": { list: ["3.21.0", "3.20.0", "3.9.0"] },
  keepalived: { list: ["v2.3.4", "v2.3.1", "v0.2.7"] },
  kubernetes: { list: ["v1.32.10", "v1.32.2", "v1.31.6", "v1.30.1"], latest: ["v1.32.10", "v1.31.6", "v1.30.1"] },
  llamaedge: { list: ["0.16.5", "0.9.0"] },
  nebula: { list: ["v1.10.0", "v1.9.5"] },
  nerdctl: { list: ["v2.1.2", "v2.0.0"] },
  nomad: { list: ["1.10.0", "1.9.0"] },
  "nvidia-runtime": { list: ["v1.18.1", "v1.9.0"] },
  ollama: { list: ["v0.14.1", "v0.9.6"] },
  opkssh: { list: ["v0.10.0", "v0.8.0"] },
  rke2: {
    list: ["v1.32.2+rke2r1", "v1.31.6+rke2r10", "v1.31.6+rke2r9"],
    latest: ["v1.32.2+rke2r1", "v1.31.6+rke2r10"],
  },
  scx: { list: ["v1.1.1", "v1.0.9"] },
  tailscale: { list: ["v1.76.6", "v1.9.9"] },
  tilde: { list: ["1.1.3", "1.1.2"] },
  vault: { list: ["1.20.0", "1.9.0"] },
  wasmcloud: { list: ["v1.10.0", "v1.2.1"] },
  wasmedge: { list: ["0.14.1", "0.13.5"] },
  wasmtime: { list: ["v24.0.0", "v9.0.4"] },
};

describe.each(Object.entries(known))("%s", (name, { list, latest }) => {
  const { versions } = readRecipe(join("recipes", name)).file;

  it("lists upstream's versions", async () => {
    expect(await listVersions(versions!, sources)).toEqual(list);
  });

  it("knows its latest", async () => {
    expect(await latestVersions(versions!, sources)).toEqual(latest ?? list.slice(0, 1));
  });

  it("takes a version with and without v, and nothing else", () => {
    const number = upstreams[name]!.version.replace(/^v/, "");
    const spelt = versions!.prefix + number;
    expect([number, `v${number}`].map((text) => spellVersion(text, versions!))).toEqual([spelt, spelt]);
    for (const text of ["latest-ish", "../1.0", `${number}/x`, "", `${number} `])
      expect(spellVersion(text, versions!)).toBeUndefined();
  });
});

it("knows every recipe", () => expect(Object.keys(known).sort()).toEqual(Object.keys(upstreams).sort()));

describe("sources", () => {
  it("reads all pages of a list", async () => {
    const first = "https://api.github.com/repos/p/p/releases?per_page=100";
    mirror.set(
      first,
      (_, response) =>
        void response.writeHead(200, { link: `<${first}&page=2>; rel="next"` }).end('[{"tag_name":"1.0"}]'),
    );
    mirror.set(`${first}&page=2`, '[{"tag_name":"1.1"},{"tag_name":"1.2","draft":true}]');
    expect(await listVersions(rules("{ github: p/p }"), sources)).toEqual(["1.1", "1.0"]);
  });

  it("pages HashiCorp's list by time", async () => {
    const entry = (at: number) => ({
      version: `1.${at}.0`,
      license_class: "oss",
      is_prerelease: false,
      timestamp_created: `T${at}`,
    });
    const list = "https://api.releases.hashicorp.com/v1/releases/x?limit=20";
    mirror.set(list, JSON.stringify(Array.from({ length: 20 }, (_, at) => entry(at))));
    mirror.set(`${list}&after=T19`, JSON.stringify([entry(20)]));
    expect(await listVersions(rules("{ hashicorp: x }"), sources)).toHaveLength(21);
  });

  it("drops what is older than `from`", async () => {
    expect(await listVersions(rules('{ fixed: ["1.0", "2.0", "3.0"], from: "2.0" }'), sources)).toEqual(["3.0", "2.0"]);
  });

  it.each([
    ["a list that is not there", "{ github: n/n }", /list of versions is not there/],
    ["a list that is none", "{ github: m/m }", /this is no list/],
    ["a page instead of a list", "{ github: h/h }", /cannot be read/],
    ["a list without a version", '{ fixed: ["x"] }', /no version that fits the recipe.*1 names such as x/],
    ["an image where none can run", "{ image: a, run: b, match: c }", /an image that must run/],
  ])("tells %s", async (_, yaml, message) => {
    mirror.set("https://api.github.com/repos/m/m/releases?per_page=100", "{}");
    mirror.set("https://api.github.com/repos/h/h/releases?per_page=100", "<html>");
    await expect(listVersions(rules(yaml), { web: sources.web })).rejects.toThrow(message);
  });
});

it.each([
  ["a[].b", ["1", "2"]],
  ["m{}", ["x", "y"]],
  ["a[].m{}", ["z"]],
  ["a.b", []],
  ["n.constructor", []],
])("selects %s", (path, values) => {
  expect(selectValues({ a: [{ b: 1, m: { z: 0 } }, { b: "2" }], m: { x: 1, y: {} }, n: {} }, path)).toEqual(values);
});

it("knows what a repository of built extensions has, and of which recipe", async () => {
  const tags = [
    "docker-24.0.9",
    "docker-compose-2.24.5",
    "docker-9.0.0",
    "docker-x",
    "docker",
    "SHA256SUMS",
    "k3s-v1.32.2+k3s1",
    "k3s-1.0",
  ];
  mirror.set(
    "https://api.github.com/repos/o/bakery/releases?per_page=100",
    JSON.stringify(tags.map((tag_name) => ({ tag_name }))),
  );
  const published = await listPublished("o/bakery", sources.web);
  expect(published.has("docker-compose-2.24.5")).toBe(true);
  const of = (name: string): string[] =>
    publishedVersions(name, readRecipe(join("recipes", name)).file.versions!, published);
  expect(of("docker")).toEqual(["24.0.9", "9.0.0"]);
  expect(of("docker-compose")).toEqual(["2.24.5"]);
  expect(of("k3s")).toEqual(["v1.32.2+k3s1"]);
});
