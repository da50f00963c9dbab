import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { flixwrap, flixwrapAsync, scratch, sh } from "../support/program.ts";
import { freePort, startRegistry, type TestRegistry } from "../support/registry.ts";

const work = scratch();
const root = debianRoot(["b3sum"]);
let registry: TestRegistry;
let image: string;

beforeAll(async () => {
  registry = await startRegistry();
  image = registry.push(root, "tools/b3sum:latest");
});

const flix = (cache: string, output: string, ...args: string[]) =>
  flixwrap(["flix", "--cache-dir", join(work, cache), "-o", join(work, output), ...args]);
const hashOf = (file: string): string =>
  createHash("sha256")
    .update(readFileSync(join(work, file)))
    .digest("hex");

test("a tag and its digest give the same image file, and it is what the folder gives", () => {
  const byTag = flix("cache-a", "tag.raw", image, "b3sum", "/usr/bin/b3sum");
  expect(byTag.stderr).not.toContain("warning");
  expect(byTag.status).toBe(0);
  const digest = /@(sha256:[0-9a-f]{64})/.exec(byTag.stderr)![1]!;
  expect(
    flix("cache-a", "digest.raw", `${registry.address}/tools/b3sum@${digest}`, "b3sum", "/usr/bin/b3sum").status,
  ).toBe(0);
  expect(hashOf("digest.raw")).toBe(hashOf("tag.raw"));
  sh(`unsquashfs -q -n -d ${work}/unpacked ${work}/tag.raw >/dev/null`);
  expect(flix("cache-a", "folder", "--format", "dir", `dir:${root}`, "b3sum", "/usr/bin/b3sum").status).toBe(0);
  expect(
    sh(`diff -r -x 'extension-release.*' -x manifest.json -x 'sbom.*' ${work}/unpacked ${work}/folder || true`),
  ).toBe("");
  const release = (folder: string): string =>
    readFileSync(join(work, folder, "usr/lib/extension-release.d/extension-release.b3sum"), "utf8");
  expect(release("unpacked")).toBe(`${release("folder")}FLIXWRAP_IMAGE="${digest}"\n`);
});

test("a warm cache asks for no blob again", () => {
  expect(flix("cache-warm", "one.raw", image, "b3sum", "/usr/bin/b3sum").status).toBe(0);
  const before = registry.requests().length;
  expect(flix("cache-warm", "two.raw", image, "b3sum", "/usr/bin/b3sum").status).toBe(0);
  const asked = registry.requests().slice(before);
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.filter((line) => line.includes("/blobs/"))).toEqual([]);
  expect(hashOf("one.raw")).toBe(hashOf("two.raw"));
});

test("an OCI layout gives the same bytes as the registry, but for the papers that name the source", () => {
  sh(`skopeo copy --quiet --src-tls-verify=false docker://${image} oci:${work}/layout:v1`);
  expect(
    flix("cache-layout", "layout.raw", "--no-papers", `oci:${work}/layout:v1`, "b3sum", "/usr/bin/b3sum").status,
  ).toBe(0);
  expect(flix("cache-a", "again.raw", "--no-papers", image, "b3sum", "/usr/bin/b3sum").status).toBe(0);
  expect(hashOf("layout.raw")).toBe(hashOf("again.raw"));
});

test("an index gives the platform that was asked for", () => {
  const arm = registry.push(debianRoot(["b3sum"]), "tools/arm:latest", { architecture: "arm64" });
  const refused = flix("cache-p", "x.raw", "--platform", "arm64", image, "b3sum", "/usr/bin/b3sum");
  expect(refused.stderr).toMatch(/linux\/amd64/);
  expect(refused.status).toBe(1);
  // An image for another platform whose programs are this machine's all the same: the programs count.
  expect(flix("cache-p", "arm.raw", "--platform", "arm64", arm, "b3sum", "/usr/bin/b3sum").status).toBe(0);
});

describe("what goes wrong is told in one line, with exit 1, and leaves nothing behind", () => {
  const noOutput = (): void => expect(readdirSync(work).filter((name) => name.startsWith("bad"))).toEqual([]);
  const oneLine = (stderr: string): string => {
    const lines = stderr
      .trim()
      .split("\n")
      .filter((line) => !/^(image|plan|pack) /.test(line));
    expect(lines).toHaveLength(1);
    expect(stderr).not.toMatch(/\bat .*\.js:\d+/);
    return lines[0]!;
  };

  test.each([
    ["an image that is not there", () => `${registry.address}/tools/nothing:latest`, /tools\/nothing/],
    ["a tag that is not there", () => `${registry.address}/tools/b3sum:v9`, /v9/],
    ["a digest that is not there", () => `${registry.address}/tools/b3sum@sha256:${"0".repeat(64)}`, /0000/],
    ["a layout that is not there", () => `oci:${work}/nowhere:x`, /nowhere/],
    ["a folder that is not there", () => `dir:${work}/nowhere`, /nowhere/],
    ["a reference that is none", () => "Not A Reference", /Not A Reference/],
  ])("%s", (_, reference, message) => {
    const { status, stderr, stdout } = flix("cache-bad", "bad.raw", reference(), "b3sum", "/usr/bin/b3sum");
    expect(oneLine(stderr)).toMatch(message);
    expect(stdout).toBe("");
    expect(status).toBe(1);
    noOutput();
  });

  test("a registry that does not answer", async () => {
    const nobody = `localhost:${await freePort()}`;
    const { status, stderr } = await flixwrapAsync([
      "flix",
      "--cache-dir",
      join(work, "cache-bad"),
      "-o",
      join(work, "bad.raw"),
      `${nobody}/x:y`,
      "x",
      "/usr/bin/x",
    ]);
    expect(oneLine(stderr)).toContain(nobody);
    expect(status).toBe(1);
    noOutput();
  });

  test.each([
    [
      "a damaged layer",
      (file: string) =>
        writeFileSync(
          file,
          Buffer.concat([readFileSync(file).subarray(0, -1), Buffer.of(readFileSync(file).at(-1)! ^ 1)]),
        ),
      /sha256:|digest|damaged/,
    ],
    [
      "a truncated layer",
      (file: string) => truncateSync(file, Math.floor(statSync(file).size / 2)),
      /size|bytes|truncated|ends/i,
    ],
  ])("%s", (name, damage, message) => {
    const layout = join(work, `damaged-${name.length}`);
    sh(`skopeo copy --quiet --src-tls-verify=false docker://${image} oci:${layout}:v1`);
    const blobs = join(layout, "blobs/sha256");
    const largest = readdirSync(blobs)
      .map((blob) => join(blobs, blob))
      .toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!;
    damage(largest);
    const cache = `cache-damaged-${name.length}`;
    const { status, stderr } = flix(cache, "bad.raw", `oci:${layout}:v1`, "b3sum", "/usr/bin/b3sum");
    expect(oneLine(stderr)).toMatch(message);
    expect(status).toBe(1);
    noOutput();
    // Nothing of it is in the cache: the sound image works with it afterwards.
    expect(flix(cache, `good-${name.length}.raw`, image, "b3sum", "/usr/bin/b3sum").status).toBe(0);
    rmSync(layout, { recursive: true });
  });

  test("the source layout is not written to", () => {
    const layout = join(work, "readonly");
    sh(`skopeo copy --quiet --src-tls-verify=false docker://${image} oci:${layout}:v1`);
    const listing = (): string =>
      sh(`cd ${layout} && find . -printf '%p %m %s %T@\\n' | sort; find . -type f -exec sha256sum {} + | sort`);
    const before = listing();
    expect(flix("cache-ro", "ro.raw", `oci:${layout}:v1`, "b3sum", "/usr/bin/b3sum").status).toBe(0);
    expect(listing()).toBe(before);
  });
});

test("entries that cannot be served are told in one line", () => {
  const bad = join(work, "badroot");
  sh(`cp -a ${root} ${bad}`);
  writeFileSync(join(bad, "usr/bin/script"), "#!/usr/bin/python3 -u\n", { mode: 0o755 });
  const rows: [string[], RegExp][] = [
    [["/usr/bin/nothing"], /no such path.*\/usr\/bin\/nothing/],
    [["/usr/bin/script"], /script.*#!\/usr\/bin\/python3 -u.*package/],
    [["/bin/x"], /only hold \/usr and \/opt.*\/bin\/x:\/usr\/bin\/x/],
  ];
  for (const [entries, message] of rows) {
    const { status, stderr } = flix("cache-e", "bad.raw", `dir:${bad}`, "x", ...entries);
    expect(stderr.trim().split("\n").at(-1)).toMatch(message);
    expect(status).toBe(1);
  }
  rmSync(join(bad, sh(`cd ${bad} && find . -name libgcc_s.so.1`).trim()));
  const { status, stderr } = flix("cache-e", "bad.raw", `dir:${bad}`, "x", "/usr/bin/b3sum");
  expect(stderr).toMatch(/cannot find a library in the image: got libgcc_s\.so\.1/);
  expect(stderr).toMatch(/needed by \/usr\/bin\/b3sum/);
  expect(stderr).toMatch(/\/usr\/lib\/.*default folder/);
  expect(status).toBe(1);
});

test.each([
  [[], 2],
  [["--nonsense", "x", "y", "/usr/bin/z"], 2],
  [["--format", "zip", "x", "y", "/usr/bin/z"], 2],
  [["--epoch", "yesterday", "x", "y", "/usr/bin/z"], 2],
  [["dir:/", "bad/name", "/usr/bin/env"], 1],
  [["dir:/", ".hidden", "/usr/bin/env"], 1],
  [["dir:/", "a b", "/usr/bin/env"], 1],
])("flix %j exits with %i and says one thing", (args, wanted) => {
  const { status, stderr, stdout } = flixwrap(["flix", ...args]);
  expect(status).toBe(wanted);
  expect(stdout).toBe("");
  expect(stderr.split("\n")[0]).not.toBe("");
  expect(stderr).not.toMatch(/\bat .*\.js:\d+/);
});

test("a folder with parts that the user may not read is told in one line", () => {
  const locked = join(work, "locked-root");
  sh(
    `mkdir -p ${locked}/usr/bin ${locked}/usr/share/secret && cp /bin/busybox ${locked}/usr/bin/ && chmod 700 ${locked}/usr/share/secret && chmod 755 ${work}`,
  );
  const prefix = ["setpriv", "--reuid", "1501", "--regid", "2502", "--clear-groups"];
  const args = ["flix", "--quiet", "--format", "dir", "-o", "/tmp/never", `dir:${locked}`, "x", "/usr/share/secret"];
  const { status, stderr } = flixwrap(args, { prefix });
  expect(stderr).toMatch(/^flix: cannot read a part of the folder: .*usr\/share\/secret.*: got EACCES\n$/);
  expect(status).toBe(1);
});
