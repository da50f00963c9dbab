import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietContext } from "../../../src/core/context.ts";
import { formatButane } from "../../../src/extension/publish/butane.ts";
import { formatChecksums, parseChecksums } from "../../../src/extension/publish/checksums.ts";
import { type UpdateSource, planUpdateFiles } from "../../../src/extension/publish/sysupdate.ts";
import { publishImage } from "../../../src/pack/publish.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "publish-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const sha = (text: string) => createHash("sha256").update(text).digest("hex");

describe("SHA256SUMS", () => {
  test("is what sha256sum reads, sorted, each name once", () => {
    for (const name of ["b.raw", "a b.raw"]) writeFileSync(join(folder, name), name);
    const files = ["b.raw", "a b.raw", "b.raw"].map((name) => ({ name, sha256: sha(name) }));
    const text = formatChecksums(files);
    expect(text.split("\n").map((line) => line.slice(66))).toEqual(["a b.raw", "b.raw", ""]);
    writeFileSync(join(folder, "SUMS"), text);
    execFileSync("sha256sum", ["--check", "--strict", "--quiet", "SUMS"], { cwd: folder });
    expect(parseChecksums(execFileSync("sha256sum", ["--binary", "b.raw"], { cwd: folder, encoding: "utf8" }))).toEqual(
      [files[0]],
    );
  });

  test("has the day that makes it stale, with the digest of nothing", () => {
    const [, line] = formatChecksums([{ name: "A.raw", sha256: sha("") }], "2027-01-31").split("\n");
    expect(line).toBe(`${sha("")}  BEST-BEFORE-2027-01-31`);
  });

  test.each([
    [[{ name: "dir/x.raw", sha256: sha("") }], "Z08"],
    [[{ name: "", sha256: sha("") }], "empty"],
    [[{ name: "a\nb", sha256: sha("") }], "newline"],
    [[{ name: "a", sha256: "x" }], "no digest"],
    [
      [
        { name: "a", sha256: sha("1") },
        { name: "a", sha256: sha("2") },
      ],
      "two contents",
    ],
  ])("refuses %j (%s)", (files) => {
    expect(() => formatChecksums(files)).toThrow(/SHA256SUMS/);
  });

  test.each(["2027-13-01", "tomorrow", "2027-1-1"])("refuses the day %s", (day) => {
    expect(() => formatChecksums([], day)).toThrow(/no day/);
  });
});

describe("the definition for systemd-sysupdate", () => {
  const source: UpdateSource = { name: "foo", url: "https://example.org/ext/foo" };
  const fields = (update: UpdateSource) => {
    const [transfer, conf] = planUpdateFiles(update);
    expect(conf!.text).toBe(transfer!.text);
    return { names: [transfer!.name, conf!.name], lines: transfer!.text.split("\n") };
  };

  test("as the reference writes it, with verification off and on", () => {
    const { names, lines } = fields(source);
    expect(names).toEqual(["foo.transfer", "foo.conf"]);
    expect(lines).toEqual(
      expect.arrayContaining([
        "Verify=no",
        "Type=url-file",
        "Path=https://example.org/ext/foo/",
        "MatchPattern=foo-@v-%a.raw",
        "InstancesMax=3",
        "Type=regular-file",
        "Path=/opt/extensions/foo",
        "CurrentSymlink=/etc/extensions/foo.raw",
      ]),
    );
    expect(fields({ ...source, verify: true }).lines).toContain("Verify=yes");
  });

  test("following patch releases", () => {
    const { names, lines } = fields({ ...source, track: "v1.31" });
    expect(names).toEqual(["foo-v1.31.transfer", "foo-v1.31.conf"]);
    expect(lines).toContain("MatchPattern=foo-v1.31.@v-%a.raw");
  });

  test("specifiers in paths are escaped", () => {
    expect(fields({ ...source, url: "https://example.org/a%20b/" }).lines).toContain(
      "Path=https://example.org/a%%20b/",
    );
  });

  test.each<Partial<UpdateSource>>([
    { url: "example.org" },
    { url: "ftp://example.org/" },
    { instances: 1 },
    { instances: 2.5 },
    { pattern: "foo.raw" },
    { pattern: "a/@v" },
    { target: "relative" },
    { link: "/a b" },
    { name: "a b" },
  ])("refuses %j", (part) => {
    expect(() => planUpdateFiles({ ...source, ...part })).toThrow();
  });
});

test("Butane is YAML that installs image, link and definition", () => {
  const [, update] = planUpdateFiles({ name: "foo", url: "https://example.org/foo/" });
  const yaml = formatButane({
    name: "foo",
    image: "foo-1.0-x86-64.raw",
    sha256: sha("x"),
    url: "https://example.org/foo/",
    update: update!,
  });
  const script = "import json,sys,yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
  const read = JSON.parse(execFileSync("python3", ["-c", script], { input: yaml, encoding: "utf8" })) as unknown;
  expect(read).toMatchObject({
    variant: "flatcar",
    storage: {
      files: [
        {
          path: "/opt/extensions/foo/foo-1.0-x86-64.raw",
          contents: {
            source: "https://example.org/foo/foo-1.0-x86-64.raw",
            verification: { hash: `sha256-${sha("x")}` },
          },
        },
        { path: "/etc/sysupdate.foo.d/foo.conf", contents: { inline: update!.text } },
      ],
      links: [{ path: "/etc/extensions/foo.raw", target: "/opt/extensions/foo/foo-1.0-x86-64.raw" }],
    },
    systemd: { units: [{ name: "systemd-sysupdate.timer", enabled: true }, { name: "systemd-sysupdate.service" }] },
  });
});

describe("beside an image", () => {
  const image = () => {
    const path = join(folder, "foo-1.0-x86-64.raw");
    writeFileSync(path, "image");
    return { path, format: "squashfs" as const, size: 5, sha256: sha("image") };
  };
  const update = { url: "https://example.org/foo/" };

  test("everything is written, again and again alike", async () => {
    const context = quietContext({ env: process.env });
    const options = {
      name: "foo",
      checksums: true,
      update,
      butane: true,
      papers: [{ name: "foo.spdx.json", text: '{"creators": "Tool: flixwrap-1"}\n' }],
    };
    const first = await publishImage(image(), options, context);
    const before = first.map((path) => readFileSync(path, "utf8"));
    const second = await publishImage(image(), options, context);
    expect(second.map((path) => readFileSync(path, "utf8"))).toEqual(before);
    expect(new Set(readdirSync(folder))).toEqual(
      new Set("foo-1.0-x86-64.raw foo.transfer foo.conf foo.butane.yaml foo.spdx.json SHA256SUMS.foo".split(" ")),
    );
    execFileSync("sha256sum", ["--check", "--strict", "--quiet", "SHA256SUMS.foo"], { cwd: folder });
  });

  test("a file of somebody else is kept", async () => {
    writeFileSync(join(folder, "foo.conf"), "[Transfer]\nProtectVersion=1\n");
    const publishing = publishImage(image(), { name: "foo", update }, quietContext());
    await expect(publishing).rejects.toMatchObject({ code: "host-output-exists" });
    expect(readFileSync(join(folder, "foo.conf"), "utf8")).toContain("ProtectVersion");
  });

  test("the signature is one that gpg accepts, and a changed index is refused", async () => {
    const home = join(folder, "home");
    mkdirSync(home, { mode: 0o700 });
    const gpg = (...args: string[]) =>
      execFileSync("gpg", ["--homedir", home, "--batch", "--quiet", ...args], { stdio: "pipe" });
    gpg("--passphrase", "", "--quick-generate-key", "tester@example.org", "ed25519", "sign", "never");
    const context = quietContext({ env: { ...process.env, GNUPGHOME: home } });
    const written = await publishImage(image(), { name: "foo", gpgKey: "tester@example.org", update }, context);
    expect(written.map((path) => path.slice(folder.length + 1))).toEqual([
      "foo.transfer",
      "foo.conf",
      "SHA256SUMS.foo",
      "SHA256SUMS.foo.gpg",
    ]);
    gpg("--verify", join(folder, "SHA256SUMS.foo.gpg"), join(folder, "SHA256SUMS.foo"));
    expect(readFileSync(join(folder, "foo.transfer"), "utf8")).toContain("Verify=yes");
    writeFileSync(join(folder, "SHA256SUMS.foo"), formatChecksums([{ name: "x", sha256: sha("x") }]));
    expect(() => gpg("--verify", join(folder, "SHA256SUMS.foo.gpg"), join(folder, "SHA256SUMS.foo"))).toThrow();
    await publishImage(image(), { name: "foo", gpgKey: "tester@example.org" }, context);
    gpg("--verify", join(folder, "SHA256SUMS.foo.gpg"), join(folder, "SHA256SUMS.foo"));
    execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
  });
});
