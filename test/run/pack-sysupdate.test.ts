import { execFileSync, spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { formatChecksums, parseChecksums } from "../../src/extension/publish/checksums.ts";
import { planRelease } from "../../src/extension/release.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import { packTree } from "../../src/pack/pack.ts";
import { publishImage, signFile } from "../../src/pack/publish.ts";
import { flixwrap } from "../support/program.ts";
import { noopTransfer } from "../../src/extension/publish/sysupdate.ts";
import { copyRoot, runInRoot, systemd257 } from "./pack-guest.ts";

let folder: string;
let guest: string;
let served: string;
let url: string;
let close: () => void;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sysupdate-test-"));
  served = join(folder, "foo");
  mkdirSync(served);
  guest = copyRoot(systemd257());
  const server = createServer((request, response) => {
    const path = join(served, basename(request.url ?? ""));
    if (!existsSync(path)) response.writeHead(404).end();
    else createReadStream(path).pipe(response.writeHead(200));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/foo/`;
  close = () => server.close();
});
afterAll(() => {
  close();
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

/** The server answers from this process, so the client must not block it. */
const sysupdate = (...args: string[]) => sysupdateOf(["-C", "foo"], ...args);

function sysupdateOf(
  component: readonly string[],
  ...args: string[]
): Promise<{ status: number | null; output: string }> {
  const script = `set -e; mount --rbind /dev "$1/dev"; mount -t proc proc "$1/proc"; mount --rbind /sys "$1/sys"; mount -t tmpfs tmpfs "$1/run"
root=$1; shift; exec chroot "$root" /usr/lib/systemd/systemd-sysupdate "$@"`;
  const child = spawn("unshare", ["--mount", "sh", "-c", script, "sh", guest, ...component, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (output += text.toString()));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, output })));
}

test("the real systemd-sysupdate finds, verifies and installs what was published", async () => {
  const home = join(folder, "home");
  mkdirSync(home, { mode: 0o700 });
  const gpg = (...args: string[]) =>
    execFileSync("gpg", ["--homedir", home, "--batch", "--quiet", ...args], { stdio: "pipe" });
  gpg("--passphrase", "", "--quick-generate-key", "tester@example.org", "ed25519", "sign", "never");
  writeFileSync(join(guest, "etc/systemd/import-pubring.gpg"), gpg("--export"));
  const context = quietContext({ env: { ...process.env, GNUPGHOME: home } });

  const publish = async (version: string) => {
    const content = Buffer.from(version);
    const plan = {
      source: memoryRootfs({}),
      warnings: [],
      actions: [
        planRelease({ name: "foo", architecture: "x86-64" }),
        { kind: "write", to: extPath("/usr/share/foo"), content, mode: 0o644, why: "" } as const,
      ],
    };
    const output = join(served, `foo-${version}-x86-64.raw`);
    const image = await packTree(buildTree(plan, { name: "foo" }), { format: "squashfs", output }, context);
    // Each release has an index of its own; the server's joins them.
    const release = join(folder, version);
    mkdirSync(release);
    copyFileSync(output, join(release, basename(output)));
    const files = await publishImage(
      { ...image, path: join(release, basename(output)) },
      { name: "foo", gpgKey: "tester@example.org", update: { url } },
      context,
    );
    return files.find((path) => path.endsWith("SHA256SUMS.foo"))!;
  };
  const writeSums = (sums: readonly string[], bestBefore?: string) => {
    const entries = sums.flatMap((path) => parseChecksums(readFileSync(path, "utf8")) ?? []);
    writeFileSync(join(served, "SHA256SUMS"), formatChecksums(entries, bestBefore));
  };
  const index = async (sums: readonly string[], bestBefore?: string) => {
    writeSums(sums, bestBefore);
    await signFile(join(served, "SHA256SUMS"), "tester@example.org", context);
  };
  const first = await publish("1.9.0");
  mkdirSync(join(guest, "etc/sysupdate.foo.d"));
  copyFileSync(join(folder, "1.9.0/foo.transfer"), join(guest, "etc/sysupdate.foo.d/foo.transfer"));
  const link = join(guest, "etc/extensions/foo.raw");
  mkdirSync(join(guest, "etc/extensions"));

  await index([first]);
  expect(await sysupdate("update")).toMatchObject({ status: 0 });
  expect(basename(readlinkSync(link))).toBe("foo-1.9.0-x86-64.raw");

  // systemd 260 refuses an index whose day is over (systemd#40393); 257, with no word for it, takes the line for a strange file.
  expect(readFileSync(join(guest, "usr/lib/systemd/systemd-sysupdate")).includes("BEST-BEFORE")).toBe(false);
  await index([first], "2001-01-01");
  expect(await sysupdate("list")).toMatchObject({ status: 0, output: expect.stringContaining("1.9.0") });

  // 1.10 is newer than 1.9; the older one stays to go back to.
  const second = await publish("1.10.0");
  await index([first, second], "2099-01-01");
  const listed = await sysupdate("list");
  expect(listed.output).toMatch(/1\.10\.0.*(candidate|available)/);
  const updated = await sysupdate("update");
  expect(updated.status, updated.output).toBe(0);
  expect(basename(readlinkSync(link))).toBe("foo-1.10.0-x86-64.raw");
  expect(existsSync(join(guest, "opt/extensions/foo/foo-1.9.0-x86-64.raw"))).toBe(true);
  expect(readFileSync(join(guest, "opt/extensions/foo/foo-1.10.0-x86-64.raw"))).toEqual(
    readFileSync(join(served, "foo-1.10.0-x86-64.raw")),
  );
  expect((await sysupdate("check-new")).status).not.toBe(0);

  // A changed index without the key, and a changed image, are refused.
  const third = await publish("1.11.0");
  writeSums([first, second, third]);
  expect((await sysupdate("update")).status).not.toBe(0);
  await index([first, second, third]);
  writeFileSync(join(served, "foo-1.11.0-x86-64.raw"), "tampered");
  expect((await sysupdate("update")).status).not.toBe(0);
  expect(basename(readlinkSync(link))).toBe("foo-1.10.0-x86-64.raw");
  execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
});

test("what the command line writes: .conf as well as .transfer, one track of patch releases, a definition that does nothing", async () => {
  const home = join(folder, "home-of-cli");
  mkdirSync(home, { mode: 0o700 });
  const gpg = (...args: string[]) =>
    execFileSync("gpg", ["--homedir", home, "--batch", "--quiet", ...args], { stdio: "pipe" });
  gpg("--passphrase", "", "--quick-generate-key", "cli@example.org", "ed25519", "sign", "never");
  writeFileSync(join(guest, "etc/systemd/import-pubring.gpg"), gpg("--export"));
  const tree = join(folder, "tree");
  mkdirSync(join(tree, "usr/share"), { recursive: true });
  const sums = [];
  for (const version of ["v1.9.1", "v1.9.2", "v1.10.0"]) {
    writeFileSync(join(tree, "usr/share/bar"), version);
    const options = `--arch x86-64 --image-version ${version} --gpg-key cli@example.org --update-url ${url}`.split(" ");
    const run = flixwrap(["pack", "--quiet", tree, "bar", ...options, "--update-track", "v1.9"], {
      cwd: served,
      env: { GNUPGHOME: home },
    });
    expect(run).toMatchObject({ status: 0, stderr: "" });
    gpg("--verify", join(served, "SHA256SUMS.bar.gpg"), join(served, "SHA256SUMS.bar"));
    sums.push(join(folder, `SHA256SUMS.${version}`));
    copyFileSync(join(served, "SHA256SUMS.bar"), sums.at(-1)!);
  }
  writeFileSync(join(served, "SHA256SUMS"), sums.map((path) => readFileSync(path, "utf8")).join(""));
  await signFile(
    join(served, "SHA256SUMS"),
    "cli@example.org",
    quietContext({ env: { ...process.env, GNUPGHOME: home } }),
  );
  for (const kind of ["transfer", "conf"]) {
    const definitions = join(guest, `etc/sysupdate.${kind}.d`);
    mkdirSync(definitions);
    copyFileSync(join(served, `bar-v1.9.${kind}`), join(definitions, `bar.${kind}`));
    const link = join(guest, "etc/extensions/bar.raw");
    rmSync(link, { force: true });
    rmSync(join(guest, "opt/extensions/bar"), { recursive: true, force: true });
    const updated = await sysupdateOf(["-C", kind], "update");
    expect(updated.status, updated.output).toBe(0);
    // 1.10.0 is newer, but no patch release.
    expect(basename(readlinkSync(link))).toBe("bar-v1.9.2-x86-64.raw");
  }
  mkdirSync(join(guest, "etc/sysupdate.d"));
  expect((await sysupdateOf([], "check-new")).output).toContain("No transfer definitions found");
  writeFileSync(join(guest, "etc/sysupdate.d/noop.conf"), noopTransfer.text);
  const noop = await sysupdateOf([], "update");
  expect([noop.status, noop.output]).toEqual([0, expect.not.stringContaining("No transfer definitions found")]);
  execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
});

test("systemd-dissect takes the image for a system extension, 257 finds it valid", () => {
  const image = join(served, "foo-1.10.0-x86-64.raw");
  const dissect = (path: string) => execFileSync("systemd-dissect", ["--json=short", path], { encoding: "utf8" });
  // Under its published name it is none: what the check release-name says.
  expect(dissect(image)).toContain('"useSystemExtension":false');
  copyFileSync(image, join(folder, "foo.raw"));
  expect(dissect(join(folder, "foo.raw"))).toMatch(/ARCHITECTURE=x86-64.*"useSystemExtension":true/);
  copyFileSync(image, join(guest, "tmp/foo.raw"));
  expect(runInRoot(guest, ["systemd-dissect", "--validate", "/tmp/foo.raw"])).toMatchObject({ status: 0 });
});
