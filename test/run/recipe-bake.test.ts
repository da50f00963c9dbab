import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import type { FlixwrapError } from "../../src/core/errors.ts";
import { checkTree } from "../../src/extension/check/check.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import { packTree } from "../../src/pack/pack.ts";
import { finishRecipe } from "../../src/recipes/finish.ts";
import { type Lock, mergeLocks, readLock, refuseChanges, requireLock, writeLock } from "../../src/recipes/lock.ts";
import { type PlannedRecipe, planRecipe, type Ports, type RecipeRequest } from "../../src/recipes/plan.ts";
import { readRecipe } from "../../src/recipes/recipe.ts";
import { openWeb } from "../../src/recipes/web.ts";
import { leavesOf, planShipped, portsTo, textOf } from "../support/recipes.ts";
import { standIn } from "../support/stand-in.ts";
import { archNames, serveUpstream, upstreams } from "../support/upstreams.ts";
import { buildArchive, openWebMirror, sha256, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;
beforeAll(async () => {
  mirror = await openWebMirror();
});
afterAll(() => mirror.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flixwrap-bake-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ports = (): Omit<Ports, "images"> => portsTo(mirror, join(folder, "cache"));

/** A recipe of one's own, written to the test's folder. */
function own(name: string, yaml: string, files: Readonly<Record<string, string>> = {}): RecipeRequest {
  const at = join(folder, name);
  for (const [path, text] of Object.entries({ "recipe.yaml": yaml, ...files })) {
    mkdirSync(dirname(join(at, path)), { recursive: true });
    writeFileSync(join(at, path), text);
  }
  return { recipe: readRecipe(at), version: "1.0", architecture: "x86-64" };
}

const errorOf = async (work: Promise<PlannedRecipe>): Promise<FlixwrapError> => {
  const made = await work.catch((error: unknown) => error as FlixwrapError);
  if ("close" in made) {
    made.close();
    throw new Error("was baked");
  }
  return made;
};

const site = "https://example.org";
const simple = `summary: x
versions: { fixed: ["1.0", "1.1", "2.0"] }
parts:
  - download: ${site}/x-{version}-{goarch}
    verify: { sums: "{url}.sha256" }
    to: /usr/bin/x
`;

/** Leaves nothing but the cache's pages behind. */
const leftovers = (): string[] =>
  (existsSync(join(folder, "cache")) ? readdirSync(join(folder, "cache")) : [])
    .filter((name) => name !== "address" && name !== "sha256")
    .flatMap((name) => readdirSync(join(folder, "cache", name)));

describe("what can go wrong is told in one line, and nothing is left behind", () => {
  const body = "program";
  beforeEach(() => {
    mirror.set(`${site}/x-1.0-amd64`, body);
    mirror.set(`${site}/x-1.0-amd64.sha256`, sha256(body));
  });
  afterEach(() => mirror.remove(`${site}/x-1.0-amd64.sha256`));

  it("a wrong checksum", async () => {
    mirror.set(`${site}/x-1.0-amd64.sha256`, sha256("other"));
    const error = await errorOf(planRecipe(own("x", simple), ports()));
    expect(error.code).toBe("recipe-checksum");
    expect(error.message).toMatch(
      /^the download is not what its checksum says: https:\/\/example\.org\/x-1\.0-amd64: got sha256:[0-9a-f]{64}, wanted sha256:[0-9a-f]{64} \(https:\/\/example\.org\/x-1\.0-amd64\.sha256\)$/,
    );
    expect(leftovers()).toEqual([]);
  });

  it.each([
    [
      "no file for the architecture",
      { architecture: "arm64" },
      "recipe-missing-asset",
      /^upstream has no file of x 1\.0 for arm64: https:\/\/example\.org\/x-1\.0-arm64$/,
    ],
    [
      "an unknown version",
      { version: "1.2" },
      "recipe-unknown-version",
      /^x has no version 1\.2; near it are 1\.1, 1\.0, 2\.0; the newest is 2\.0$/,
    ],
    [
      "no version at all",
      { version: "../../etc" },
      "recipe-unknown-version",
      /^x has no version \.\.\/\.\.\/etc; near it are/,
    ],
    ["no version given", { version: undefined }, "usage", /^which version\?: x; flixwrap versions x lists them/],
    [
      "an architecture the recipe is not for",
      { architecture: "riscv64" },
      "recipe-architecture",
      /^x is not made for riscv64: wanted x86-64 or arm64$/,
    ],
    [
      "an unknown architecture",
      { architecture: "z80" },
      "usage",
      /^unknown architecture: got z80, wanted x86-64 or arm64$/,
    ],
    ["an unknown option", { options: { withuot: "y" } }, "usage", /^unknown option --withuot$/],
  ] as const)("%s", async (_, request, code, message) => {
    const error = await errorOf(planRecipe({ ...own("x", simple), ...request } as RecipeRequest, ports()));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
    expect(leftovers()).toEqual([]);
  });

  it.each([
    ["without: { help: y, choices: [a, b] }", { without: "c" }, /^--without cannot be that: got c, wanted a or b$/],
    [
      "without: { help: y, choices: [a, b] }",
      { wihtout: "a" },
      /^unknown option --wihtout: wanted --without; did you mean --without\?$/,
    ],
    ["w: { help: the other version, required: true }", {}, /^--w is required: wanted the other version$/],
    ["w: { help: y, versions: { fixed: ['1'], prefix: v } }", { w: "x" }, /^--w must be a version or latest: got x/],
  ])("option %s given %j", async (option, options, message) => {
    const error = await errorOf(planRecipe({ ...own("x", `${simple}options: { ${option} }\n`), options }, ports()));
    expect([error.code, error.message]).toEqual(["usage", expect.stringMatching(message)]);
  });

  it("two old variables that exclude each other", async () => {
    for (const upstream of [upstreams["docker"]!]) serveUpstream(mirror, upstream);
    const context = quietContext({ env: { ONLY_DOCKER: "1", ONLY_CONTAINERD: "1" } });
    const error = await errorOf(planShipped("docker", { ...portsTo(mirror, join(folder, "cache"), context) }));
    expect(error.message).toMatch(/ONLY_CONTAINERD and ONLY_DOCKER exclude each other; use --without/);
    const one = quietContext({ env: { ONLY_DOCKER: "1" } });
    const planned = await planShipped("docker", portsTo(mirror, join(folder, "cache"), one));
    expect(planned.options).toEqual({ without: "containerd" });
    planned.close();
  });

  it("the network down", async () => {
    const web = openWeb(
      { cache: join(folder, "cache"), mirrors: [{ from: "*", to: "http://127.0.0.1:9" }], tries: 1 },
      quietContext(),
    );
    const error = await errorOf(planRecipe(own("x", simple), { ...ports(), web }));
    expect(error.message).toMatch(
      /^cannot reach the server: http:\/\/127\.0\.0\.1:9\/example\.org\/x-1\.0-amd64\.sha256: got .*ECONNREFUSED/,
    );
  });

  it("a checksum file that is not there is a warning, or an error if asked for", async () => {
    mirror.remove(`${site}/x-1.0-amd64.sha256`);
    const planned = await planRecipe(own("x", simple), ports());
    expect(planned.unverified).toEqual([
      "https://example.org/x-1.0-amd64: upstream offers no checksum for this version",
    ]);
    expect(planned.lock.architectures["x86-64"]![0]).not.toHaveProperty("verifiedBy");
    planned.close();
    const error = await errorOf(planRecipe({ ...own("x", simple), requireVerified: true }, ports()));
    expect(error.code).toBe("recipe-unverified");
  });
});

describe("archives that are not what the recipe thinks", () => {
  const recipe = (files: string): string =>
    `summary: x\nversions: { fixed: ["1.0"] }\nparts:\n  - download: ${site}/x.tar.gz\n    unverified: a test\n    files: { ${files} }\n`;
  beforeEach(() =>
    mirror.set(
      `${site}/x.tar.gz`,
      buildArchive(
        {
          "d/a.sh": { text: "echo a\n", mode: 0o700 },
          "d/b.txt": { text: "b\n", mode: 0o600 },
          "d/l": { link: "b.txt" },
        },
        "tar.gz",
        "x86-64",
      ),
    ),
  );

  it.each([
    [
      "a pattern without a match",
      "d/c.txt: /usr/share/",
      "recipe-no-match",
      /^nothing matches d\/c\.txt: x\.tar\.gz: got d\/a\.sh, d\/b\.txt, d\/l$/,
    ],
    [
      "several files for one path",
      '"d/*": /usr/share/x',
      "recipe-no-match",
      /matches 3 files but \/usr\/share\/x is one path/,
    ],
    [
      "text to replace that is not there",
      "d/a.sh: { to: /usr/bin/, replace: { z: y } }",
      "recipe-replace",
      /"z" is not in the files/,
    ],
  ])("%s", async (_, files, code, message) => {
    const error = await errorOf(planRecipe(own("x", recipe(files)), ports()));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  });

  it("keeps of a mode only whether a file can be run, and no owner", async () => {
    const planned = await planRecipe(own("x", recipe('"d/**": /usr/share/x/')), ports());
    const tree = buildTree(planned.plan, { name: "x", ownership: "keep" });
    const rows = [...tree.nodes]
      .filter(([path]) => path.startsWith("/usr/share/x/"))
      .map(([path, node]) => [path, node.mode.toString(8), node.uid, node.gid]);
    expect(rows).toEqual([
      ["/usr/share/x/a.sh", "755", 0, 0],
      ["/usr/share/x/b.txt", "644", 0, 0],
      ["/usr/share/x/l", "777", 0, 0],
    ]);
    planned.close();
  });

  it("a folder's name means all that is in it", async () => {
    const planned = await planRecipe(own("x", recipe("d: { to: /usr/share/x/, except: [d/l] }")), ports());
    expect(planned.plan.actions.map(({ to }) => to)).toEqual(["/usr/share/x/a.sh", "/usr/share/x/b.txt"]);
    planned.close();
  });

  it.each([
    [
      "a truncated tar",
      () => buildArchive({ a: { text: "x".repeat(5000) } }, "tar.gz", "x86-64").subarray(0, 60),
      "x.tar.gz",
    ],
    ["no tar", () => Buffer.from("<html>"), "x.tar.gz"],
    [
      "a damaged zip",
      () => Buffer.concat([buildArchive({ a: { text: "x" } }, "zip", "x86-64").subarray(10), Buffer.from("x")]),
      "x.zip",
    ],
    [
      "a zip that leads out",
      () =>
        buildArchive({ "AAAAAA/passwd": { text: "x" } }, "zip", "x86-64")
          .toString("latin1")
          .replaceAll("AAAAAA", "../../"),
      "x.zip",
    ],
    ["no package", () => Buffer.from("!<arch>\nnothing"), "x.deb"],
    [
      "a package with a lying size",
      () => Buffer.from(`!<arch>\ndata.tar        0           0     0     100644  -5        \`\n`),
      "x.deb",
    ],
  ])("refuses %s", async (_, bytes, name) => {
    const made = bytes();
    mirror.set(`${site}/${name}`, typeof made === "string" ? Buffer.from(made, "latin1") : made);
    const yaml = `summary: x\nversions: { fixed: ["1.0"] }\nparts:\n  - download: ${site}/${name}\n    unverified: a test\n    files: { "**": /usr/share/ }\n`;
    const error = await errorOf(planRecipe(own("x", yaml), ports()));
    expect(error.name).toBe("FlixwrapError");
    expect(error.code).toMatch(/^(recipe|oci)-/);
    expect(readdirSync(join(folder, "cache", "unpacked"))).toEqual([]);
  });

  it("refuses a bomb", async () => {
    mirror.set(
      `${site}/x.tar.gz`,
      execFileSync("sh", ["-c", "head -c 200000000 /dev/zero | gzip -9"], { maxBuffer: 1 << 30 }),
    );
    const error = await errorOf(planRecipe(own("x", recipe('"**": /usr/share/')), ports()));
    expect(error.code).toBe("oci-too-large");
  });

  it("reads symlinks and modes of zip files, and texts of a megabyte", async () => {
    const big = "y".repeat(1 << 20);
    mirror.set(
      `${site}/x.zip`,
      buildArchive(
        { "bin/tool": "program", "bin/link": { link: "tool" }, "share/big": { text: big } },
        "zip",
        "x86-64",
      ),
    );
    const yaml = `summary: x\nversions: { fixed: ["1.0"] }\nparts:\n  - download: ${site}/x.zip\n    unverified: a test\n    files: { "bin/*": /usr/bin/, share/big: /usr/share/ }\n`;
    const planned = await planRecipe(own("x", yaml), ports());
    const tree = buildTree(planned.plan, { name: "x" });
    expect(textOf(tree, "/usr/share/big")).toBe(big);
    expect(
      [...tree.nodes]
        .filter(([path]) => path.startsWith("/usr/bin/"))
        .map(([path, node]) => [path, node.type, node.mode.toString(8)]),
    ).toEqual([
      ["/usr/bin/link", "symlink", "777"],
      ["/usr/bin/tool", "file", "755"],
    ]);
    planned.close();
  });
});

describe("a recipe of one's own", () => {
  it("has its files as they are, its texts and links", async () => {
    const request = own(
      "mine",
      'summary: x\ntext: { /usr/share/mine/arch: "{arch} {goarch} {uname}\\n" }\nlinks: { /usr/bin/m: mine.sh }\nenable: [mine.timer]\n',
      {
        "files/usr/bin/mine.sh": "#!/bin/sh\n",
        "files/usr/lib/systemd/system/mine.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/mine.sh\n",
        "files/usr/lib/systemd/system/mine.timer": "[Timer]\nOnBootSec=1min\n",
      },
    );
    execFileSync("chmod", ["755", join(folder, "mine/files/usr/bin/mine.sh")]);
    const { version: _, ...rest } = request;
    const planned = await planRecipe({ ...rest, architecture: "aarch64" }, ports());
    const tree = buildTree(finishRecipe(planned, { tool: "test" }), { name: "mine" });
    expect(textOf(tree, "/usr/share/mine/arch")).toBe("arm64 arm64 aarch64\n");
    expect(leavesOf(tree)).toEqual(
      expect.arrayContaining(["/usr/bin/m", "/usr/lib/systemd/system/timers.target.d/10-mine.timer.conf"]),
    );
    expect(planned.reload).toBe(true);
    planned.close();
  });

  it("may take several parts together: one converted from an image, one downloaded, one copied from the image", async () => {
    mirror.set(`${site}/x-1.0-amd64`, "#!/bin/sh\n");
    const yaml = `summary: x
versions: { fixed: ["1.0"] }
parts:
  - image: some/image:{version}
    run: install {number}
    package: tool
    convert: flix
    entries: [/usr/bin/tool]
    files: { usr/share/tool: /usr/share/tool/ }
  - download: ${site}/x-{version}-{goarch}
    unverified: a test
    to: /usr/bin/x
`;
    const asked: unknown[] = [];
    const root = memoryRootfs({
      "/usr/bin/tool": { content: standIn("x86-64"), mode: 0o755 },
      "/usr/share/tool/data": "data",
      "/lib/apk/db/installed": "P:tool\nV:1.0-r3\n",
    });
    const images = {
      open: (request: { image: string; run?: string }) => {
        asked.push(request.image, request.run);
        return Promise.resolve({ root, digest: `sha256:${"1".repeat(64)}`, close: () => asked.push("closed") });
      },
    };
    const planned = await planRecipe(own("x", yaml), { ...ports(), images });
    expect(asked).toEqual(["some/image:1.0", "install 1.0"]);
    const tree = buildTree(planned.plan, { name: "x" });
    expect(leavesOf(tree)).toEqual(["/usr/bin/tool", "/usr/bin/x", "/usr/share/tool/data"]);
    expect(textOf(tree, "/usr/share/tool/data")).toBe("data");
    expect(planned.lock.architectures["x86-64"]![0]).toMatchObject({
      source: "some/image:1.0",
      digest: `sha256:${"1".repeat(64)}`,
      result: expect.stringMatching(/^sha256:/) as string,
    });
    planned.close();
    expect(asked.at(-1)).toBe("closed");

    const other = memoryRootfs({
      "/usr/bin/tool": { content: standIn("x86-64"), mode: 0o755 },
      "/var/lib/dpkg/status": "Package: tool\nVersion: 1:1.1-2\n",
    });
    const wrong = { open: () => Promise.resolve({ root: other, close: () => undefined }) };
    const error = await errorOf(planRecipe(own("x", yaml), { ...ports(), images: wrong }));
    expect(error.message).toMatch(/another version of tool than the one asked for.*got 1:1\.1-2, wanted 1\.0/);
  });

  it("is refused when a drop takes nothing, so that a change of upstream's layout shows", async () => {
    const error = await errorOf(
      planRecipe(own("x", "summary: x\ntext: { /usr/share/a: a }\ndrop: [{ paths: [/usr/share/b] }]\n"), ports()),
    );
    expect(error.message).toMatch(/^nothing to drop: \/usr\/share\/b/);
  });
});

describe("a lock", () => {
  const bake = async (
    name: string,
    request: Partial<RecipeRequest>,
    output: string,
    offline = false,
  ): Promise<Lock> => {
    const web = openWeb(
      { cache: join(folder, "cache"), mirrors: [{ from: "*", to: mirror.base }], pause: 1, offline },
      quietContext(),
    );
    const planned = await planShipped(name, { ...ports(), web }, request);
    try {
      const tree = buildTree(finishRecipe(planned, { tool: "test" }), { name });
      await packTree(tree, { format: "squashfs", output: join(folder, output), epoch: 0 }, quietContext());
      return planned.lock;
    } finally {
      planned.close();
    }
  };

  it.each(["kubernetes", "containerd", "consul", "nvidia-runtime", "haproxy"])(
    "makes %s the same to the byte, without a network",
    async (name) => {
      serveUpstream(mirror, upstreams[name]!);
      const path = join(folder, `${name}.lock`);
      writeLock(path, await bake(name, {}, "a.raw"));
      const lock = readLock(path)!;
      mirror.log.length = 0;
      const again = await bake(name, { lock }, "b.raw", true);
      expect(mirror.log).toEqual([]);
      expect(again).toEqual(lock);
      expect(readFileSync(join(folder, "a.raw")).equals(readFileSync(join(folder, "b.raw")))).toBe(true);
    },
  );

  it("names every address and digest, for both architectures", async () => {
    serveUpstream(mirror, upstreams["kubernetes"]!);
    const one = await bake("kubernetes", {}, "a.raw");
    const both = mergeLocks(one, await bake("kubernetes", { architecture: "arm64" }, "b.raw"));
    for (const names of archNames) {
      const rows = upstreams["kubernetes"]!.files(names).map(({ address }) => address);
      expect(both.architectures[names.arch]!.map(({ source }) => source)).toEqual(rows);
    }
    expect(both.architectures["x86-64"]![0]).toEqual({
      source: "https://dl.k8s.io/v1.32.2/bin/linux/amd64/kubectl",
      digest: `sha256:${sha256(standIn("x86-64"))}`,
      size: standIn("x86-64").length,
      verifiedBy: "https://dl.k8s.io/v1.32.2/bin/linux/amd64/kubectl.sha256",
    });
    expect(mergeLocks(both, { ...one, version: "v9" }).architectures).not.toHaveProperty("arm64");
  });

  it("pins even what nobody vouches for", async () => {
    serveUpstream(mirror, upstreams["docker"]!);
    const lock = await bake("docker", {}, "a.raw");
    rmSync(join(folder, "cache"), { recursive: true });
    mirror.set(
      "https://download.docker.com/linux/static/stable/x86_64/docker-24.0.9.tgz",
      buildArchive({ "docker/docker": "program" }, "tar.gz", "x86-64"),
    );
    const error = await errorOf(planShipped("docker", ports(), { lock }));
    expect(error.message).toMatch(/not what its checksum says.*\(the lock\)/);
  });

  it.each([
    [
      "another version",
      { version: "v1.32.10" },
      /lock is for something else: got kubernetes v1\.32\.2, wanted kubernetes v1\.32\.10/,
    ],
    [
      "another option",
      { options: { "cni-version": "v1.7.1" } },
      /lock was made with another --cni-version: got v1\.7\.1, wanted v1\.6\.2/,
    ],
    ["another architecture", { architecture: "arm64" }, /lock does not have this source.*got a lock for x86-64/],
  ])("refuses %s", async (_, request, message) => {
    serveUpstream(mirror, upstreams["kubernetes"]!);
    const lock = await bake("kubernetes", {}, "a.raw");
    expect((await errorOf(planShipped("kubernetes", ports(), { lock, ...request }))).message).toMatch(message);
  });

  it("refuses a file that changed since, on another machine too", async () => {
    serveUpstream(mirror, upstreams["kubernetes"]!);
    const now = await bake("kubernetes", {}, "a.raw");
    const rows = now.architectures["x86-64"]!;
    const before = (digest: string, version = now.version): Lock => ({
      ...now,
      version,
      architectures: { arm64: [], "x86-64": [{ ...rows[0]!, digest }, ...rows.slice(1)] },
    });
    expect(() => refuseChanges(before(`sha256:${"0".repeat(64)}`), now)).toThrow(
      /changed under the same version since the lock was made; ask upstream why.*\n {2}https:\/\/dl\.k8s\.io\/v1\.32\.2\/bin\/linux\/amd64\/kubectl: sha256:0+ before, sha256:/,
    );
    refuseChanges(before(rows[0]!.digest), now);
    refuseChanges(before(`sha256:${"0".repeat(64)}`, "v1.0"), now);
    refuseChanges(undefined, now);
  });

  it("must be there to be relied on", () => {
    expect(() => requireLock(join(folder, "none.lock"))).toThrow(
      /^there is no lock: .*none\.lock; bake once without --locked$/,
    );
  });

  it.each([
    ["no JSON", "{", /this is no lock file/],
    ["another format", '{"lock": 2}', /another format/],
    [
      "a source without a digest",
      '{"lock":1,"recipe":"x","version":"1","options":{},"values":{},"architectures":{"arm64":[{"source":"x","digest":"?"}]}}',
      /without a digest/,
    ],
    ["no list of architectures", '{"lock":1,"recipe":"x","version":"1","architectures":null}', /another format/],
    [
      "options that are no texts",
      '{"lock":1,"recipe":"x","version":"1","options":{"a":{}},"values":{},"architectures":{}}',
      /another format/,
    ],
    [
      "nothing for a source",
      '{"lock":1,"recipe":"x","version":"1","options":{},"values":{},"architectures":{"arm64":[null]}}',
      /without a digest/,
    ],
  ])("with %s is refused", (_, text, message) => {
    writeFileSync(join(folder, "x.lock"), text);
    expect(() => readLock(join(folder, "x.lock"))).toThrow(message);
  });
});

describe("programs that upstream built for the host's glibc", () => {
  const dynamic = (libraries: string): string =>
    `summary: x\n${libraries}versions: { fixed: ["1.0"] }\nparts:\n  - download: ${site}/dynamic\n    unverified: a test\n    to: /usr/bin/x\n`;
  const findings = async (libraries: string): Promise<string[]> => {
    mirror.set(`${site}/dynamic`, readFileSync("/bin/true"));
    const planned = await planRecipe(own("x", dynamic(libraries)), ports());
    const found = checkTree(buildTree(finishRecipe(planned, { tool: "test" }), { name: "x" }));
    planned.close();
    return found.map(({ severity, rule, facts }) => `${severity} ${rule} ${facts["name"]}`);
  };

  it("are refused unless the recipe says so", async () => {
    expect(await findings("")).toEqual(["error elf-interpreter /lib64/ld-linux-x86-64.so.2"]);
  });

  it("are noted when it does, but for what it does not name", async () => {
    expect(await findings("host-libraries: [glibc]\n")).toEqual(["note elf-interpreter /lib64/ld-linux-x86-64.so.2"]);
    expect(await findings("host-libraries: [libc.so.6]\n")).toEqual([
      "error elf-interpreter /lib64/ld-linux-x86-64.so.2",
    ]);
  });
});
