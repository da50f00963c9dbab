import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseImageName, planIndex } from "../../../src/recipes/index-files.ts";
import { findRecipe } from "../../../src/recipes/recipe.ts";
import { parseReleases } from "../../../src/recipes/release-list.ts";
import { bakeAll, type Build, planMatrix, planReleases } from "../../../src/recipes/releases.ts";
import { portsTo } from "../../support/recipes.ts";
import { serveUpstream, upstreams } from "../../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../../support/web-mirror.ts";

let mirror: WebMirror;
let cache: string;
beforeAll(async () => {
  mirror = await openWebMirror();
  cache = mkdtempSync(join(tmpdir(), "flixwrap-releases-"));
  for (const upstream of Object.values(upstreams)) serveUpstream(mirror, { ...upstream, files: () => [] });
});
afterAll(async () => {
  await mirror.close();
  rmSync(cache, { recursive: true, force: true });
});

describe("parseReleases", () => {
  it("reads the reference's file", () => {
    const text = "# a list\n\ndocker latest\n  kubernetes   v1.28.5 # required for CI\r\nk3s v1.32.2+k3s1\n";
    expect(parseReleases(text, "r.txt").map(({ name, version, where }) => [name, version, where])).toEqual([
      ["docker", "latest", "r.txt:3"],
      ["kubernetes", "v1.28.5", "r.txt:4"],
      ["k3s", "v1.32.2+k3s1", "r.txt:5"],
    ]);
  });

  it("tells all lines that it cannot read", () => {
    expect(() => parseReleases("docker\na b c\nx y\n", "r.txt")).toThrow(
      /NAME VERSION on each line\n  r\.txt:1: docker\n  r\.txt:2: a b c$/,
    );
  });

  it("reads YAML with options", () => {
    const text = "- docker latest\n- name: llamaedge\n  version: 0.16.5\n  options: { wasmedge-version: 0.14.1 }\n";
    expect(parseReleases(text, "r.yaml")).toEqual([
      { name: "docker", version: "latest", where: "r.yaml:1" },
      { name: "llamaedge", version: "0.16.5", options: { "wasmedge-version": "0.14.1" }, where: "r.yaml:2" },
    ]);
  });

  it.each([
    ["a: b\n", /wanted a list/],
    ["- [\n", /this is not YAML: r\.yaml:\d/],
    ["- docker 1\n- name: docker\n  version: 1.20\n", /r\.yaml:2: wanted .* both texts/],
  ])("refuses %j", (text, message) => expect(() => parseReleases(text, "r.yaml")).toThrow(message));
});

const find = (name: string) => findRecipe(name, ["recipes"]);
const plan = (text: string, published: string[] = []) =>
  planReleases(parseReleases(text, "r.txt"), find, portsTo(mirror, cache), new Set(published));
const words = (builds: readonly Build[]): string[] => builds.map(({ recipe, version }) => `${recipe.name} ${version}`);

describe("planReleases", () => {
  it("makes latest into the newest of each branch, each build once, without what is published", async () => {
    const { builds, skipped, failed } = await plan(
      "kubernetes v1.32.10\nkubernetes latest\nkubernetes 1.32.10\ndocker latest\ncontainerd 2.0.0\n",
      ["docker-27.1.2", "kubernetes-v1.30.1"],
    );
    expect(words(builds)).toEqual(["kubernetes v1.32.10", "kubernetes v1.31.6", "containerd 2.0.0"]);
    expect(skipped).toEqual(["kubernetes-v1.30.1", "docker-27.1.2"]);
    expect(failed).toEqual([]);
  });

  it("lets no failure hide the others", async () => {
    mirror.remove("https://download.docker.com/linux/static/stable/x86_64/");
    const { builds, failed } = await plan("docker latest\nnosuch latest\nvault x\nvault latest\n");
    expect(words(builds)).toEqual(["vault 1.20.0"]);
    expect(failed.map(({ where, error }) => `${where} ${(error as Error).message}`)).toEqual([
      expect.stringMatching(/^r\.txt:1 upstream's list of versions is not there/),
      expect.stringMatching(/^r\.txt:2 there is no recipe of this name/),
      expect.stringMatching(/^r\.txt:3 vault has no version x/),
    ]);
  });
});

it("planMatrix makes a job for each architecture", async () => {
  const { builds } = await plan("vault latest\n");
  expect(planMatrix(builds)).toEqual({
    include: [
      { name: "vault", version: "1.20.0", arch: "x86-64", runner: "ubuntu-24.04" },
      { name: "vault", version: "1.20.0", arch: "arm64", runner: "ubuntu-24.04-arm" },
    ],
  });
  expect(planMatrix(builds, ["aarch64"]).include.map(({ arch }) => arch)).toEqual(["arm64"]);
  expect(() => planMatrix(builds, ["z80"])).toThrow(/unknown architecture: got z80/);
  expect(planMatrix(Array.from({ length: 200 }, () => builds[0]!)).include).toHaveLength(256);
});

describe("bakeAll", () => {
  it("bakes some at a time, in order, and goes on after a failure", async () => {
    const { builds } = await plan("vault 1.0\nconsul 1.0\nnomad 1.0\n");
    let running = 0;
    let most = 0;
    const results = await bakeAll(
      builds,
      { jobs: 2, signal: new AbortController().signal },
      async ({ recipe }, architecture) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, recipe.name === "vault" ? 20 : 5));
        running -= 1;
        if (recipe.name === "consul" && architecture === "arm64") throw new Error("no");
        return `${recipe.name} ${architecture}`;
      },
    );
    expect(most).toBe(2);
    expect(results.map(({ result, error }) => result ?? (error as Error).message)).toEqual([
      "vault x86-64",
      "vault arm64",
      "consul x86-64",
      "no",
      "nomad x86-64",
      "nomad arm64",
    ]);
  });

  it("ends with the run", async () => {
    const { builds } = await plan("vault 1.0\nconsul 1.0\n");
    const abort = new AbortController();
    let begun = 0;
    const work = bakeAll(builds, { jobs: 1, signal: abort.signal }, () => {
      begun += 1;
      abort.abort();
      return Promise.reject(new Error("interrupted work"));
    });
    await expect(work).rejects.toThrow();
    expect(begun).toBe(1);
  });
});

describe("planIndex", () => {
  const [a, b] = ["a".repeat(64), "b".repeat(64)];

  it("has file names alone, sorted, each once, for each extension and for all", () => {
    const index = planIndex([
      { file: "out/docker-24.0.9-x86-64.raw", sha256: a },
      { file: "docker-compose-2.24.5-arm64.raw", sha256: b },
      { file: "old/docker-24.0.9-x86-64.raw", sha256: a },
      { file: "docker.conf", sha256: b },
      { file: "docker-compose.conf", sha256: a },
      { file: "kubernetes-v1.32.2-arm64.raw", sha256: a },
      { file: "kubernetes-v1.32.conf", sha256: b },
    ]);
    expect(Object.fromEntries(index)).toEqual({
      SHA256SUMS:
        `${b}  docker-compose-2.24.5-arm64.raw\n${a}  docker-compose.conf\n${a}  docker-24.0.9-x86-64.raw\n${b}  docker.conf\n${a}  kubernetes-v1.32.2-arm64.raw\n${b}  kubernetes-v1.32.conf\n`
          .split("\n")
          .filter(Boolean)
          .sort((x, y) => (x.slice(66) < y.slice(66) ? -1 : 1))
          .map((line) => `${line}\n`)
          .join(""),
      "docker-compose/SHA256SUMS": `${b}  docker-compose-2.24.5-arm64.raw\n${a}  docker-compose.conf\n`,
      "docker/SHA256SUMS": `${a}  docker-24.0.9-x86-64.raw\n${b}  docker.conf\n`,
      "kubernetes/SHA256SUMS": `${a}  kubernetes-v1.32.2-arm64.raw\n${b}  kubernetes-v1.32.conf\n`,
    });
  });

  it("writes update definitions, for branches too where the recipe has them", () => {
    const index = planIndex(
      [
        { file: "kubernetes-v1.32.2-arm64.raw", sha256: a },
        { file: "kubernetes-v1.32.10-arm64.raw", sha256: a },
        { file: "kubernetes-v1.31.6-arm64.raw", sha256: a },
        { file: "docker-24.0.9-x86-64.raw", sha256: b },
      ],
      { url: "https://example.org/extensions", branches: new Map([["kubernetes", "minor"]]) },
    );
    expect([...index.keys()].sort()).toEqual([
      "SHA256SUMS",
      "docker.conf",
      "docker.transfer",
      "docker/SHA256SUMS",
      "kubernetes.conf",
      "kubernetes.transfer",
      "kubernetes/SHA256SUMS",
      "kubernetes/kubernetes-v1.31.conf",
      "kubernetes/kubernetes-v1.31.transfer",
      "kubernetes/kubernetes-v1.32.conf",
      "kubernetes/kubernetes-v1.32.transfer",
    ]);
    expect(index.get("kubernetes.conf")).toContain(
      "Path=https://example.org/extensions/kubernetes/\nMatchPattern=kubernetes-@v-%a.raw\n",
    );
    expect(index.get("kubernetes/kubernetes-v1.32.conf")).toContain("MatchPattern=kubernetes-v1.32.@v-%a.raw\n");
  });

  it("refuses one name with two contents", () => {
    const files = ["x", "y"].map((folder, at) => ({ file: `${folder}/a-1-arm64.raw`, sha256: at === 0 ? a : b }));
    expect(() => planIndex(files)).toThrow(/two files of one name.*a-1-arm64\.raw/);
  });

  it.each([
    ["docker-24.0.9-x86-64.raw", { name: "docker", version: "24.0.9", architecture: "x86-64" }],
    ["docker-compose-v2.24.5-arm64.raw", { name: "docker-compose", version: "v2.24.5", architecture: "arm64" }],
    ["k3s-v1.32.2+k3s1-arm64.raw", { name: "k3s", version: "v1.32.2+k3s1", architecture: "arm64" }],
    ["docker.raw", undefined],
    ["../docker-1-arm64.raw", undefined],
  ])("reads %s", (file, parts) => expect(parseImageName(file)).toEqual(parts));
});
