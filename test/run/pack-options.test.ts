import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const folder = scratch();
const tree = join(folder, "tree");
beforeAll(() => {
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  writeFileSync(join(tree, "usr/bin/hey"), "#!/bin/sh\necho hey\n");
  chmodSync(join(tree, "usr/bin/hey"), 0o755);
});

/** `pack` in a folder of its own: exit status, messages, and that folder. */
function pack(options: readonly string[], env: Record<string, string> = {}) {
  const place = mkdtempSync(join(folder, "place-"));
  const run = flixwrap(["pack", "--quiet", tree, "foo", ...options], { cwd: place, env });
  return { ...run, place, files: readdirSync(place).toSorted() };
}

interface Info {
  readonly format: string;
  readonly release: Record<string, string>;
  readonly size: number;
}
const info = (path: string) => JSON.parse(flixwrap(["info", "--json", path]).stdout) as Info;
const times = (image: string) =>
  new Set(sh(`TZ=UTC unsquashfs -lln ${image} | awk '/^[-dl]/ {print $4, $5}'`).trim().split("\n"));

describe("what the shell tools were told", () => {
  type Row = [string, { options?: readonly string[]; env?: Record<string, string> }, Record<string, string>, string[]?];
  const any = { ID: "_any" };
  const rows: Row[] = [
    ["nothing", {}, any],
    ["FORMAT", { env: { FORMAT: "erofs" } }, any],
    ["OS", { env: { OS: "flatcar" } }, { ID: "flatcar", SYSEXT_LEVEL: "1.0" }],
    ["an empty OS", { env: { OS: "" } }, any],
    ["ARCH, bake.sh's spelling", { env: { ARCH: "aarch64" } }, { ...any, ARCHITECTURE: "arm64" }],
    ["--arch", { options: ["--arch", "x86-64"] }, { ...any, ARCHITECTURE: "x86-64" }],
    ["RELOAD=1", { env: { RELOAD: "1" } }, { ...any, EXTENSION_RELOAD_MANAGER: "1" }],
    ["RELOAD=0", { env: { RELOAD: "0" } }, any],
    ["--force-reload true", { options: ["--force-reload", "true"] }, { ...any, EXTENSION_RELOAD_MANAGER: "1" }],
    ["--force-reload false over RELOAD=1", { options: ["--force-reload", "false"], env: { RELOAD: "1" } }, any],
    ["--output-file", { options: ["--output-file", "bar"] }, any, ["bar.raw"]],
    ["--output-file with its suffix", { options: ["--output-file", "bar.raw"] }, any, ["bar.raw"]],
    ["--ext-fs-size", { options: ["--format", "ext4", "--ext-fs-size", "1G"] }, any],
    ["--sysupdate true", { options: ["--sysupdate", "true"] }, any, ["foo.conf", "foo.raw", "foo.transfer"]],
    ["--sysupdate false", { options: ["--sysupdate=false"] }, any],
  ];
  test.each(rows)("%s", (_, { options = [], env = {} }, wanted, files = ["foo.raw"]) => {
    const run = pack(options, env);
    expect(run).toMatchObject({ status: 0, stderr: "" });
    expect(run.files).toEqual(files);
    const image = join(
      run.place,
      files.find((name) => name.endsWith(".raw"))!,
    );
    const { release, format, size } = info(image);
    expect(release).toEqual({ ...wanted, FLIXWRAP_VERSION: expect.any(String) as string });
    if (env["FORMAT"] !== undefined) expect(format).toBe(env["FORMAT"]);
    if (options.includes("ext4")) expect(size).toBeLessThan(4 << 20);
  });

  test("EPOCH, unless SOURCE_DATE_EPOCH says otherwise", () => {
    const dated = (env: Record<string, string>) => times(join(pack([], env).place, "foo.raw"));
    expect(dated({ EPOCH: "86400" })).toEqual(new Set(["1970-01-02 00:00"]));
    expect(dated({ EPOCH: "86400", SOURCE_DATE_EPOCH: "172800" })).toEqual(new Set(["1970-01-03 00:00"]));
    expect(dated({ EPOCH: "86400", SOURCE_DATE_EPOCH: "" })).toEqual(new Set(["1970-01-02 00:00"]));
  });

  test("--sysupdate asks Flatcar's server, unless another one is named", () => {
    const conf = (...options: string[]) =>
      readFileSync(join(pack(["--sysupdate", "true", ...options]).place, "foo.conf"), "utf8");
    expect(conf()).toContain("Path=https://extensions.flatcar.org/extensions/foo/\n");
    expect(conf("--update-url", "https://example.org/x")).toContain("Path=https://example.org/x/\n");
  });

  test("every converter and bake take them; --help shows none", () => {
    for (const command of ["flix", "flatwrap", "torcx", "pack", "bake"]) {
      const { stdout } = flixwrap([command, "--help"]);
      expect(stdout).toContain("--format");
      expect(stdout).not.toMatch(/--(force-reload|output-file|ext-fs-size|sysupdate)\b/);
      // An unknown option would be the complaint otherwise.
      const { stderr, status } = flixwrap([command, "--force-reload", "perhaps"]);
      expect([status, stderr]).toEqual([2, expect.stringContaining("wanted true or false")]);
    }
  });
});

test("the update definition says what the options say", () => {
  const { place, files } = pack([
    ..."--image-version v1.31.2 --arch x86-64 --update-url https://example.org/k8s --update-track v1.31".split(" "),
    ..."--update-instances 5 --update-target /opt/k --update-link /etc/extensions/k.raw".split(" "),
    ..."--best-before 2099-01-31 --butane".split(" "),
  ]);
  expect(files).toEqual([
    "SHA256SUMS.foo",
    "foo-v1.31.2-x86-64.raw",
    "foo-v1.31.conf",
    "foo-v1.31.transfer",
    "foo.butane.yaml",
  ]);
  const read = (name: string) => readFileSync(join(place, name), "utf8");
  const lines = read("foo-v1.31.conf").split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      "Path=https://example.org/k8s/",
      "MatchPattern=foo-v1.31.@v-%a.raw",
      "InstancesMax=5",
      "Path=/opt/k",
      "CurrentSymlink=/etc/extensions/k.raw",
    ]),
  );
  expect(read("foo-v1.31.transfer")).toBe(read("foo-v1.31.conf"));
  expect(read("SHA256SUMS.foo")).toMatch(/^e3b0c44298fc[0-9a-f]{52} {2}BEST-BEFORE-2099-01-31$/m);
  sh("sha256sum --check --ignore-missing --quiet SHA256SUMS.foo", { cwd: place });
  const pattern = pack(["--update-url", "https://example.org/", "--update-pattern", "f_@v.raw"]);
  expect(readFileSync(join(pattern.place, "foo.conf"), "utf8")).toContain("MatchPattern=f_@v.raw\n");
});

test("more lines of extension-release, and bytes in short", () => {
  const { place } = pack([
    ..."--release-field SYSEXT_VERSION_ID=1.2 --format ext4 --size 8M".split(" "),
    "--release-field",
    "SYSEXT_PRETTY_NAME=Hey there",
  ]);
  const { release, size } = info(join(place, "foo.raw"));
  expect(release).toMatchObject({ SYSEXT_VERSION_ID: "1.2", SYSEXT_PRETTY_NAME: "Hey there" });
  expect(size).toBe(8 << 20);
});

describe("an image under another name than its own is told", () => {
  const notice = /^notice +a host merges it as foo\.raw only, not as (\S+):/m;
  const told = (...options: string[]) => {
    const { status, stderr } = flixwrap(["pack", tree, "foo", "--dry-run", ...options], { cwd: folder });
    expect(status).toBe(0);
    return notice.exec(stderr)?.[1];
  };
  // What this machine's and a newer systemd really merge: test/run/names-live.
  test.each(["foo.raw", "foo_1.raw", "foo-1.2-x86-64.raw", "foo.sysext.raw"])("%s is found", (name) => {
    expect(told("-o", name)).toBeUndefined();
  });
  test.each(["bar.raw", "foobar.raw", "foo.img"])("%s is not", (name) => {
    expect(told("-o", name)).toBe(name);
  });
  test("any name will do when the extension says so, and a tar is no image", () => {
    expect(told("-o", "bar.raw", "--any-file-name")).toBeUndefined();
    expect(told("-o", "bar.tar", "--format", "tar")).toBeUndefined();
  });
});

test("the plan's line counts files and links, not folders", () => {
  const place = join(folder, "counted");
  mkdirSync(join(place, "usr/share/foo"), { recursive: true });
  writeFileSync(join(place, "usr/share/foo/one"), "1");
  symlinkSync("one", join(place, "usr/share/foo/two"));
  symlinkSync("one", join(place, "usr/share/foo/three"));
  const { stderr } = flixwrap(["pack", place, "foo", "--dry-run"], { cwd: folder });
  expect(stderr).toMatch(/plan +1 file \(0 edited\), 2 links$/m);
});

describe("wrong use is one line, before anything is written", () => {
  const rows: [string[], number, RegExp][] = [
    [["--update-instances", "3"], 2, /--update-instances needs --update-url/],
    [["--update-url", "example.org"], 1, /update definition.*got example\.org/],
    [["--update-url", "https://e.org/", "--update-instances", "1"], 1, /got 1, wanted 2 instances/],
    [["--update-url", "https://e.org/", "--update-pattern", "x.raw"], 1, /got x\.raw, wanted a file name with @v/],
    [["--update-url", "https://e.org/", "--update-link", "x"], 1, /got x, wanted an absolute path/],
    [["--best-before", "tomorrow"], 1, /no day \(YYYY-MM-DD\).*tomorrow/],
    [["--best-before", "2027-02-30"], 1, /no day \(YYYY-MM-DD\).*2027-02-30/],
    [["--release-field", "lower=x"], 1, /got lower=x, wanted KEY=VALUE/],
    [["--release-field", "ARCHITECTURE=arm64"], 1, /has an option of its own/],
    [["--arch", "z80"], 2, /'z80' is invalid/],
    [["--size", "many"], 2, /'many' is invalid/],
    [["--ext-fs-size", "1X"], 2, /'1X' is invalid/],
    [["--scope", "moon"], 1, /SYSEXT_SCOPE= .*got moon/],
    [["--version-id", "1 2"], 1, /VERSION_ID= .*got 1 2/],
    [["--host-profile", "beos"], 2, /no such host profile: got beos/],
    [["--no-check", "nonsense"], 2, /no such check: got nonsense/],
    [["--compression", "rar"], 1, /got rar, wanted zstd/],
    [["--private-key", "k.pem"], 2, /--private-key and --certificate go together/],
    [["--enable", "none.service"], 1, /none\.service/],
    [["--etc", "/etc/none"], 1, /\/etc\/none/],
    [["-o", "missing/foo.raw"], 1, /cannot write into the output's folder/],
  ];
  test.each(rows)("pack %j", (options, status, message) => {
    const run = pack(options);
    expect(run.stderr).toMatch(message);
    // Commander adds the way to --help.
    expect(run.stderr.replace("(--help lists what is possible)\n", "").trim().split("\n")).toHaveLength(1);
    expect([run.status, run.stdout, run.files]).toEqual([status, "", []]);
  });

  const empty = join(folder, "empty.raw");
  const text = join(folder, "text.raw");
  const bare = join(folder, "bare");
  beforeAll(() => {
    writeFileSync(empty, "");
    writeFileSync(text, "no image at all\n".repeat(100));
    mkdirSync(join(bare, "usr"), { recursive: true });
  });
  const files: [string[], number, RegExp][] = [
    [["pack", "/none", "foo"], 1, /\/none/],
    // What is written wrongly is told before anything is looked for.
    [["pack", "/none", "foo", "--no-check", "nonsense"], 2, /no such check: got nonsense/],
    [["pack", "/none", "foo", "--host-profile", "beos"], 2, /no such host profile: got beos/],
    [["pack", tree, "a/b"], 1, /not a name for an extension: a\/b: got a path/],
    [["pack", tree], 2, /missing required argument 'name'/],
    [["check"], 2, /missing required argument 'file'/],
    [["check", "/none.raw"], 1, /cannot open the extension.*\/none\.raw/],
    [["check", "--host", "/none", tree], 1, /\/none/],
    [["info", "/none.raw"], 1, /cannot open the extension.*\/none\.raw/],
    [["info", empty], 1, /got an empty file, wanted a folder, or an image of squashfs/],
    [["info", text], 1, /got an unknown format, wanted a folder/],
    [["info", "--files", text], 1, /got an unknown format/],
    [["compare", text, tree], 1, /got an unknown format/],
    [["compare", tree], 2, /missing required argument 'second'/],
    [["unpack", text], 1, /got an unknown format/],
    [["unpack", bare], 1, /has no extension-release/],
    [["try", tree], 2, /try needs extensions and a command/],
    [["try", "--", "true"], 2, /try needs extensions and a command/],
    [["try", "/none.raw", "--", "true"], 1, /cannot open the extension.*\/none\.raw/],
    [["try", text, "--", "true"], 1, /got an unknown format/],
    [["try", bare, "--", "true"], 1, /has no extension-release/],
  ];
  test.each(files)("%j", (args, status, message) => {
    const run = flixwrap(args, { cwd: folder });
    expect(run.stderr.replace("(--help lists what is possible)\n", "").trim().split("\n")).toHaveLength(1);
    expect([run.status, run.stderr]).toEqual([status, expect.stringMatching(message)]);
  });

  test("check tells of a file that is no image as of a damaged one", () => {
    const run = flixwrap(["check", text]);
    expect([run.status, run.stdout]).toEqual([1, expect.stringMatching(/error: it cannot be read.*\[damaged\]\n$/)]);
  });
});
