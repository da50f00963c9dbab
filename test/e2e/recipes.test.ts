import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, flixwrapAsync, main, scratch, sh } from "../support/program.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { buildArchive, openWebMirror, sha256, type WebMirror } from "../support/web-mirror.ts";

const folder = scratch();
let mirror: WebMirror;
beforeAll(async () => {
  mirror = await openWebMirror();
  for (const upstream of Object.values(upstreams)) serveUpstream(mirror, upstream);
});
afterAll(() => mirror.close());

let places = 0;
const place = (): string => {
  const path = join(folder, `work-${places++}`);
  mkdirSync(path);
  return path;
};
/** As a user would, with every address served by the mirror; `words` after that. */
const run = (words: string, cwd = folder, mirrored = true): Promise<Ended> =>
  flixwrapAsync([...words.split(" "), ...(mirrored ? ["--mirror", `*=${mirror.base}`] : [])], {
    cwd,
    env: { FLIXWRAP_CACHE_DIR: join(folder, "cache"), XDG_CACHE_HOME: join(folder, "cache") },
  });

describe("list and versions", () => {
  it("list has all recipes, as a table, as names, as JSON", async () => {
    const [table, plain, json] = await Promise.all(
      ["list", "list --plain", "list --json"].map((words) => run(words, folder, false)),
    );
    expect(plain!.stdout.trim().split("\n")).toEqual(readdirSync("recipes").sort());
    expect(table!.stdout).toMatch(/^btop +flatwrap +Resource monitor/m);
    const rows = JSON.parse(json!.stdout) as { name: string; files: string[] }[];
    expect(rows.find(({ name }) => name === "kubernetes")!.files).toContain("/usr/lib/systemd/system/kubelet.service");
  });

  it.each([
    ["versions docker", "27.1.2\n24.0.9\n9.0.0\n"],
    ["versions docker.sysext --latest", "27.1.2\n"],
    ["versions kubernetes --latest", "v1.32.10\nv1.31.6\nv1.30.1\n"],
    ["versions vault --json", '["1.20.0","1.9.0"]\n'],
  ])("%s", async (words, stdout) => {
    expect(await run(words)).toEqual({ status: 0, stdout, stderr: "" });
  });
});

describe("bake", () => {
  it("makes an image that unpacks to what the recipe says, a lock, and the same bytes again without a network", async () => {
    const at = place();
    const first = await run("bake docker 24.0.9 --without containerd --arch x86_64", at);
    expect(first).toMatchObject({ status: 0 });
    expect(first.stderr).toMatch(/not verified: .*docker-24\.0\.9\.tgz: Docker publishes no checksums/);
    sh("unsquashfs -q -n -d tree docker.raw", { cwd: at });
    expect(readdirSync(join(at, "tree/usr/bin"))).toEqual(["docker", "docker-init", "docker-proxy", "dockerd"]);
    expect(readFileSync(join(at, "tree/usr/lib/extension-release.d/extension-release.docker"), "utf8")).toMatch(
      /^ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n/,
    );
    const before = sha256(readFileSync(join(at, "docker.raw")));
    sh("rm docker.raw", { cwd: at });
    mirror.log.length = 0;
    expect(await run("bake docker 24.0.9 --arch amd64 --locked --offline --quiet", at, false)).toMatchObject({
      status: 0,
    });
    expect(sha256(readFileSync(join(at, "docker.raw")))).toBe(before);
    expect(mirror.log).toEqual([]);
  });

  it("starts a unit that the recipe leaves alone, and leaves the papers away, when told to", async () => {
    const at = place();
    mkdirSync(join(at, "mine/files/usr/lib/systemd/system"), { recursive: true });
    writeFileSync(join(at, "mine/recipe.yaml"), "summary: files alone\n");
    const unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    writeFileSync(join(at, "mine/files/usr/lib/systemd/system/idle.service"), unit);
    const made = await run(
      "bake ./mine --format dir --enable idle.service --upholds symlink --no-papers -o mine.out",
      at,
    );
    expect(made).toMatchObject({ status: 0 });
    expect(readlinkSync(join(at, "mine.out", "usr/lib/systemd/system/multi-user.target.upholds/idle.service"))).toBe(
      "../idle.service",
    );
    expect(sh(`cd ${at}/mine.out && find . -name '*.json'`)).toBe("");
    expect(await run("bake ./mine --no-users", at)).toMatchObject({ status: 2 });
  });

  it("takes a recipe of one's own, another name, format, host and architecture", async () => {
    const at = place();
    expect(await run("recipe new ./mine", at, false)).toMatchObject({ status: 0 });
    expect(await run("recipe check ./mine", at, false)).toMatchObject({ status: 0, stdout: "" });
    writeFileSync(join(at, "mine/recipe.yaml"), "summary: files alone\n");
    const made = await run("bake ./mine --name other --format dir --os flatcar --arch aarch64", at);
    expect(made).toMatchObject({ status: 0 });
    expect(readFileSync(join(at, "other/usr/lib/extension-release.d/extension-release.other"), "utf8")).toMatch(
      /^ID=flatcar\nSYSEXT_LEVEL=1\.0\nARCHITECTURE=arm64\n/,
    );
    expect(existsSync(join(at, "other/usr/share/mine/README.md"))).toBe(true);
  });

  it("refuses a download that changed under the same version", async () => {
    const at = place();
    expect((await run("bake opkssh v0.8.0 --arch arm64", at)).status).toBe(0);
    const lock = readFileSync(join(at, "opkssh.lock"), "utf8");
    writeFileSync(join(at, "opkssh.lock"), lock.replace(/"sha256:[0-9a-f]{64}"/, `"sha256:${"0".repeat(64)}"`));
    const again = await run("bake opkssh v0.8.0 --arch arm64", at);
    expect(again).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/changed under the same version since the lock was made/) as string,
    });
  });

  it.each([
    ["bake dokcer 1", 1, /^\S*:? ?.*there is no recipe of this name: got dokcer; did you mean docker\?$/],
    [
      "bake docker 24.0.99",
      1,
      /docker has no version 24\.0\.99; near it are 24\.0\.9, 27\.1\.2, 9\.0\.0; the newest is 27\.1\.2$/,
    ],
    ["bake docker", 2, /bake docker needs a version; latest is the newest one$/],
    [
      "bake docker 24.0.9 --wihtout containerd",
      2,
      /unknown option --wihtout: wanted --without; did you mean --without\?$/,
    ],
    ["bake docker 24.0.9 --without=runc", 2, /--without cannot be that: got runc, wanted docker or containerd$/],
    ["bake docker 24.0.9 --arch=z80", 2, /unknown architecture: got z80/],
    ["bake docker 24.0.9 --locked", 1, /there is no lock: .*docker\.lock; bake once without --locked$/],
    ["bake llamaedge 0.16.5", 2, /--wasmedge-version is required/],
    ["bake", 2, /bake needs a recipe; flixwrap list shows them$/],
  ])("%s ends with %i and one clear line, and writes nothing", async (words, status, line) => {
    const at = place();
    const ended = await run(words, at);
    expect(ended.status).toBe(status);
    const lines = ended.stderr.trim().split("\n");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(line);
    expect(readdirSync(at)).toEqual([]);
  });

  it("shows where YAML is broken", async () => {
    const at = place();
    mkdirSync(join(at, "r"));
    writeFileSync(join(at, "r/recipe.yaml"), "summary: x\nparts: [\n");
    expect((await run("bake ./r 1", at)).stderr).toMatch(/this is not YAML: r\/recipe\.yaml:\d+:\d+: got /);
    writeFileSync(join(at, "r/recipe.yaml"), "summary: x\nunknown: 1\n");
    expect((await run("bake ./r 1", at)).stderr).toMatch(/r\/recipe\.yaml:2:1: unknown key "unknown"/);
  });
});

describe("releases", () => {
  it("bakes a list for both architectures, and one failure stops no other", async () => {
    const at = place();
    writeFileSync(join(at, "list.txt"), "vault latest # the newest\nk3s v1.32.2+k3s1\nopkssh v9.9.9\n");
    const ended = await run("bake --all list.txt --jobs 2 --quiet", at);
    expect(ended.status).toBe(1);
    expect(
      ended.stdout
        .trim()
        .split("\n")
        .map((line) => line.replace(/:.*/, "")),
    ).toEqual([
      "done    vault 1.20.0 x86-64",
      "done    vault 1.20.0 arm64",
      "done    k3s v1.32.2+k3s1 x86-64",
      "done    k3s v1.32.2+k3s1 arm64",
      "failed  opkssh v9.9.9 x86-64",
      "failed  opkssh v9.9.9 arm64",
    ]);
    expect(readdirSync(at).filter((name) => name.endsWith(".raw"))).toEqual([
      "k3s-v1.32.2+k3s1-arm64.raw",
      "k3s-v1.32.2+k3s1-x86-64.raw",
      "vault-1.20.0-arm64.raw",
      "vault-1.20.0-x86-64.raw",
    ]);

    writeFileSync(join(at, "short.txt"), "vault latest\nopkssh v9.9.9\n");
    const told = await run("bake --all short.txt --arch arm64 --quiet --json", at);
    expect(
      told.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { status: "done", recipe: "vault", version: "1.20.0", file: { path: "vault-1.20.0-arm64.raw" }, beside: [] },
      { status: "failed", recipe: "opkssh", architecture: "arm64", error: { code: "recipe-unknown-version" } },
    ]);

    expect(await run("index . --url https://example.org/extensions", at, false)).toMatchObject({ status: 0 });
    expect(
      sh("sha256sum --check --quiet SHA256SUMS && cd k3s && sha256sum --check --quiet SHA256SUMS", { cwd: at }),
    ).toBe("");
    expect(readdirSync(join(at, "k3s"))).toEqual([
      "SHA256SUMS",
      "k3s-v1.32.2+k3s1-arm64.raw",
      "k3s-v1.32.2+k3s1-x86-64.raw",
      "k3s-v1.32.conf",
      "k3s-v1.32.transfer",
    ]);
    expect(readdirSync(at).filter((name) => name.endsWith(".lock"))).toEqual([
      "k3s-v1.32.2+k3s1.lock",
      "vault-1.20.0.lock",
    ]);
    // Silences systemd-sysupdate for the component that nobody has.
    expect(readFileSync(join(at, "noop.conf"), "utf8")).toContain("MatchPattern=invalid@v.raw");
    expect(readFileSync(join(at, "vault.conf"), "utf8")).toContain(
      "Path=https://example.org/extensions/vault/\nMatchPattern=vault-@v-%a.raw\n",
    );
  });

  it("knows what is released already", async () => {
    const tags = ["k3s-v1.32.10+k3s2", "k3s-v1.31.6+k3s1", "vault-1.20.0", "latest"].map((tag_name) => ({ tag_name }));
    mirror.set("https://api.github.com/repos/me/mine/releases?per_page=100", JSON.stringify(tags));
    expect(await run("versions k3s --published me/mine")).toMatchObject({ stdout: "v1.32.10+k3s2\nv1.31.6+k3s1\n" });
    const at = place();
    writeFileSync(join(at, "list.txt"), "k3s latest\nvault latest\n");
    const ended = await run("bake --all list.txt --plan --published me/mine", at);
    expect(ended).toMatchObject({ status: 0, stdout: '["k3s:v1.30.1+k3s1"]\n' });
  });

  it("prints the matrix for CI", async () => {
    const at = place();
    writeFileSync(join(at, "list.txt"), "k3s latest\n");
    const ended = await run("bake --all list.txt --plan --matrix", at);
    const matrix = JSON.parse(ended.stdout) as { include: { name: string; version: string; arch: string }[] };
    expect(matrix.include.map(({ name, version, arch }) => `${name} ${version} ${arch}`)).toEqual(
      ["v1.32.10+k3s2", "v1.31.6+k3s1", "v1.30.1+k3s1"].flatMap((version) =>
        ["x86-64", "arm64"].map((arch) => `k3s ${version} ${arch}`),
      ),
    );
    expect(readdirSync(at)).toEqual(["list.txt"]);
  });
});

it("bakes as an ordinary user without any network, once everything is in the cache", async () => {
  const at = place();
  mirror.set(
    "https://download.docker.com/linux/static/stable/x86_64/docker-24.0.9.tgz",
    buildArchive({ "docker/docker": "program", "docker/runc": "program" }, "tar.gz", "x86-64"),
  );
  expect((await run("bake nebula v1.9.5 --arch x86-64", at)).status).toBe(0);
  const first = sha256(readFileSync(join(at, "nebula.raw")));
  sh(`chmod -R a+rwX ${folder} && rm nebula.raw`, { cwd: at });
  sh(
    `unshare -n setpriv --reuid 1501 --regid 1501 --clear-groups env HOME=/tmp XDG_CACHE_HOME=${folder}/cache FLIXWRAP_CACHE_DIR=${folder}/cache ${process.execPath} ${main} bake nebula v1.9.5 --arch x86-64 --locked --offline`,
    { cwd: at },
  );
  expect(sha256(readFileSync(join(at, "nebula.raw")))).toBe(first);
});
