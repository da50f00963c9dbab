import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { checkRecipe } from "../../../src/recipes/check.ts";
import { describeRecipe, readCatalogue } from "../../../src/recipes/catalogue.ts";
import { findRecipe, readRecipe } from "../../../src/recipes/recipe.ts";
import { writeSkeleton } from "../../../src/recipes/skeleton.ts";
import { listVersions } from "../../../src/recipes/versions.ts";
import { openWeb } from "../../../src/recipes/web.ts";
import { portsTo } from "../../support/recipes.ts";
import { serveUpstream, upstreams } from "../../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../../support/web-mirror.ts";
import { quietContext } from "../../../src/core/context.ts";

let mirror: WebMirror;
let folder: string;
beforeAll(async () => {
  mirror = await openWebMirror();
});
afterAll(() => mirror.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flixwrap-catalogue-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("list", () => {
  it("has every recipe once, sorted; a folder of one's own goes first", () => {
    writeSkeleton(folder, "docker");
    writeSkeleton(folder, "mine");
    const all = readCatalogue([folder, "recipes"]);
    expect(all).toHaveLength(36);
    expect(all.map(({ name }) => name)).toEqual(all.map(({ name }) => name).sort());
    expect(all.find(({ name }) => name === "docker")!.folder).toBe(join(folder, "docker"));
  });

  it("tells what a recipe ships", async () => {
    expect(await describeRecipe(readRecipe("recipes/kubernetes"))).toEqual({
      name: "kubernetes",
      summary: "kubelet, kubeadm and kubectl with the CNI plugins",
      folder: "recipes/kubernetes",
      kinds: ["static"],
      architectures: ["x86-64", "arm64"],
      files: ["/usr/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"],
      enable: ["kubelet.service"],
      options: { "cni-version": "version of the CNI plugins; `latest` asks upstream" },
      needs: ["containerd"],
      homepage: "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/",
      notes: expect.stringContaining("container runtime") as string,
    });
    expect((await describeRecipe(readRecipe("recipes/btop"))).kinds).toEqual(["flatwrap"]);
    expect((await describeRecipe(readRecipe("recipes/tilde"))).kinds).toEqual(["flix"]);
    expect((await describeRecipe(readRecipe("recipes/bird"))).kinds).toEqual(["compiled"]);
  });

  it("knows the versions that were asked for before, without asking", async () => {
    serveUpstream(mirror, { ...upstreams["docker"]!, files: () => [] });
    const docker = readRecipe("recipes/docker");
    const cache = join(folder, "cache");
    const offline = openWeb({ cache, offline: true }, quietContext());
    expect(await describeRecipe(docker, offline)).not.toHaveProperty("versions");
    await listVersions(docker.file.versions!, portsTo(mirror, cache));
    mirror.log.length = 0;
    expect(await describeRecipe(docker, offline)).toMatchObject({ versions: { newest: "27.1.2", count: 3 } });
    expect(mirror.log).toEqual([]);
  });
});

describe("findRecipe", () => {
  it.each(["docker", "docker.sysext", "docker.sysext/", "./recipes/docker", "recipes/docker/"])(
    "understands %s",
    (text) => {
      expect(findRecipe(text, ["recipes"]).name).toBe("docker");
    },
  );

  it.each([
    ["dokcer", /no recipe of this name: got dokcer; did you mean docker\?/],
    ["compose", /did you mean docker-compose\?/],
    ["qqqqqq", /flixwrap list shows all 35; a folder of your own is written \.\/qqqqqq/],
    ["./nothing", /there is no recipe\.yaml in the folder: \.\/nothing; flixwrap recipe new/],
  ])("suggests for %s", (text, message) => {
    expect(() => findRecipe(text, ["recipes"])).toThrow(message);
  });
});

describe("recipe new", () => {
  it.each(["static", "flix", "flatwrap"] as const)("writes a %s recipe that is sound", (kind) => {
    const written = writeSkeleton(folder, "mine", kind);
    expect(written).toContain(join(folder, "mine/recipe.yaml"));
    const recipe = readRecipe(join(folder, "mine"));
    expect(recipe.file.parts).toHaveLength(1);
    expect(checkRecipe(recipe)).toEqual([]);
  });

  it("touches nothing that is there", () => {
    writeFileSync(join(folder, "mine"), "precious");
    expect(() => writeSkeleton(folder, "mine")).toThrow(/something of this name already/);
    expect(readFileSync(join(folder, "mine"), "utf8")).toBe("precious");
  });

  it.each(["../x", "a b", "", ".x"])("refuses the name %j", (name) => {
    expect(() => writeSkeleton(folder, name)).toThrow(/not a name for an extension/);
    expect(readdirSync(folder)).toEqual([]);
    expect(existsSync(join(folder, "..", "x", "recipe.yaml"))).toBe(false);
  });
});

describe("recipe check finds what the reference's recipes had wrong", () => {
  const findings = (yaml: string, files: Readonly<Record<string, string>> = {}): string[] => {
    writeSkeleton(folder, "x");
    rmSync(join(folder, "x/files"), { recursive: true });
    writeFileSync(join(folder, "x/recipe.yaml"), yaml);
    for (const [path, text] of Object.entries(files)) {
      const at = join(folder, "x/files", path);
      mkdirSync(dirname(at), { recursive: true });
      writeFileSync(at, text);
    }
    return checkRecipe(readRecipe(join(folder, "x"))).map(
      ({ severity, where, message }) => `${severity} ${where}: ${message}`,
    );
  };
  const part = (more: string): string =>
    `summary: x\nversions: { fixed: ["1"] }\nparts:\n  - download: https://e.org/{version}\n    to: /usr/bin/x\n    ${more}\n`;

  it.each([
    [
      "a drop-in without .conf (bird)",
      { "usr/lib/systemd/system/multi-user.target.d/bird.service": "" },
      /^error .*bird\.service: systemd reads drop-ins that end in \.conf only/,
    ],
    [
      "a tmpfiles rule for nothing (nerdctl)",
      { "usr/lib/tmpfiles.d/x.conf": "C /etc/x - - - - /usr/share/x/etc\n" },
      /^error .*x\.conf: copies \/usr\/share\/x\/etc, which nothing ships/,
    ],
    [
      "a program in sbin (chrony)",
      { "usr/lib/systemd/system/x.service": "[Service]\nExecStart=-/usr/sbin/x\n" },
      /^error .*ExecStart names a program in sbin/,
    ],
    ["a folder sbin", { "usr/sbin/x": "" }, /^error \/usr\/sbin\/x: this folder is a link on most hosts/],
    ["something outside", { "etc/x": "" }, /^error \/etc\/x: an extension holds \/usr and \/opt only/],
    [
      "a link that starts at boot only",
      { "usr/lib/systemd/system/multi-user.target.wants/x.service": "" },
      /^warning .*starts at boot only/,
    ],
    [
      "a line that is no setting",
      { "usr/lib/systemd/system/x.service": "[Service]\nExecStart\n" },
      /^error .*neither a section nor KEY=VALUE/,
    ],
  ])("%s", (_, files, message) => {
    expect(findings("summary: x\n", files)).toEqual([expect.stringMatching(message)]);
  });

  it.each([
    [
      "an option under another name (wasmcloud)",
      part("unverified: x").replace("{version}", "{nats}"),
      /^error parts\.0\.download: \{nats\} is defined nowhere/,
    ],
    [
      "a name that only one architecture has",
      `${part("unverified: x").replace("{version}", "{suffix}")}architectures: { x86-64: { suffix: a }, arm64: {} }\n`,
      /^error parts\.0\.download: \{suffix\}/,
    ],
    [
      "a condition on nothing",
      `${part("unverified: x")}drop: [{ paths: [/usr/x], when: with-cni }]\n`,
      /^error drop\.0\.when: \{with-cni\}/,
    ],
    ["a unit that is nowhere", "summary: x\nenable: [x.service]\n", /^error enable: x\.service is neither/],
  ])("%s", (_, yaml, message) => {
    expect(findings(yaml).filter((line) => line.startsWith("error"))).toEqual([expect.stringMatching(message)]);
  });

  it("says what is not verified", () => {
    expect(findings(part("unverified: they sign nothing"))).toEqual([
      "warning parts.0: is not verified: they sign nothing",
    ]);
  });
});
