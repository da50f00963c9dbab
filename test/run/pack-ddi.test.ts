import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { rootPath, extPath } from "../../src/core/paths.ts";
import { planRelease } from "../../src/extension/release.ts";
import { type ExtensionTree, buildTree } from "../../src/extension/tree.ts";
import { openExtension } from "../../src/image/open.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import { openHashTree } from "../../src/pack/ddi/verity.ts";
import type { PackOptions } from "../../src/pack/packer.ts";
import { packTree } from "../../src/pack/pack.ts";
import { copyRoot, runInRoot, systemd257 } from "./pack-guest.ts";

let folder: string;
let guest: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ddi-test-"));
  guest = copyRoot(systemd257());
  execFileSync(
    "openssl",
    "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=tester".split(" "),
    { cwd: folder, stdio: "pipe" },
  );
  // Where the userspace check looks for certificates it trusts.
  mkdirSync(join(guest, "etc/verity.d"));
  copyFileSync(join(folder, "cert.pem"), join(guest, "etc/verity.d/tester.crt"));
});
afterAll(() => {
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

const context = quietContext({ env: process.env });
const signing = () => ({ privateKey: join(folder, "key.pem"), certificate: join(folder, "cert.pem") });

function tree(architecture = "x86-64"): ExtensionTree {
  const noise = Buffer.from(Array.from({ length: 900_000 }, (_, at) => Math.imul(at * at + 7, 2_654_435_761) >>> 13));
  const actions = [
    planRelease({ name: "foo", architecture }),
    { kind: "write", to: extPath("/usr/lib/foo"), content: noise, mode: 0o644, why: "" } as const,
  ];
  return buildTree({ source: memoryRootfs({}), actions, warnings: [] }, { name: "foo" });
}

async function make(name: string, options: PackOptions, architecture?: string): Promise<string> {
  const output = join(folder, `${name}.raw`);
  await packTree(tree(architecture), { format: "ddi", output, ...options }, context);
  return output;
}

interface Sfdisk {
  readonly partitiontable: {
    readonly partitions: readonly {
      readonly start: number;
      readonly size: number;
      readonly type: string;
      readonly uuid: string;
    }[];
  };
}
/** The partitions' contents, cut out by what sfdisk says. */
function partitions(
  image: string,
): readonly { readonly type: string; readonly uuid: string; readonly bytes: Buffer }[] {
  const told = JSON.parse(execFileSync("sfdisk", ["--json", image], { encoding: "utf8" })) as Sfdisk;
  const all = readFileSync(image);
  return told.partitiontable.partitions.map(({ start, size, type, uuid }) => ({
    type: type.toLowerCase(),
    uuid: uuid.toLowerCase(),
    bytes: all.subarray(start * 512, (start + size) * 512),
  }));
}

/** veritysetup's own judgement, in userspace. */
function verify(data: Uint8Array, hashes: Uint8Array, rootHash: string): boolean {
  writeFileSync(join(folder, "data"), data);
  writeFileSync(join(folder, "hashes"), hashes);
  return spawnSync("veritysetup", ["verify", join(folder, "data"), join(folder, "hashes"), rootHash]).status === 0;
}

describe.each([{ filesystem: "squashfs" }, { filesystem: "erofs" }] as const)("with $filesystem", (options) => {
  test("table, hashes and signature are what sgdisk, veritysetup and openssl accept", async () => {
    const image = await make(`signed-${options.filesystem}`, { ...options, signing: signing() });
    expect(execFileSync("sgdisk", ["--verify", image], { encoding: "utf8" })).toContain("No problems found");
    const [root, verity, signature] = partitions(image);
    const rootHash = `${root!.uuid}${verity!.uuid}`.replaceAll("-", "");
    expect(verify(root!.bytes, verity!.bytes, rootHash)).toBe(true);
    const flipped = Buffer.from(root!.bytes);
    flipped[flipped.length >> 1]! ^= 1;
    expect(verify(flipped, verity!.bytes, rootHash)).toBe(false);

    const json = JSON.parse(signature!.bytes.toString().replace(/\0+$/, "")) as Record<string, string>;
    expect(json["rootHash"]).toBe(rootHash);
    writeFileSync(join(folder, "p7"), Buffer.from(json["signature"]!, "base64"));
    writeFileSync(join(folder, "hash"), rootHash);
    const check =
      "smime -verify -inform DER -in p7 -content hash -certfile cert.pem -CAfile cert.pem -noverify -binary";
    execFileSync("openssl", check.split(" "), { cwd: folder, stdio: "pipe" });
    const fingerprint = execFileSync("openssl", "x509 -in cert.pem -noout -fingerprint -sha256".split(" "), {
      cwd: folder,
      encoding: "utf8",
    });
    expect(json["certificateFingerprint"]).toBe(fingerprint.split("=")[1]!.trim().replaceAll(":", "").toLowerCase());
  });
});

test("systemd-dissect 257 finds it signed; a plain one does not meet that policy", async () => {
  const signed = await make("policy-signed", { signing: signing() });
  const unsigned = await make("policy-unsigned", {});
  const judge = (image: string, policy: string) => {
    copyFileSync(image, join(guest, "tmp/foo.raw"));
    return runInRoot(guest, ["systemd-dissect", "--validate", `--image-policy=${policy}`, "/tmp/foo.raw"]);
  };
  expect(judge(signed, "root=signed")).toMatchObject({ status: 0 });
  expect(judge(unsigned, "root=verity")).toMatchObject({ status: 0 });
  expect(judge(unsigned, "root=signed").status).not.toBe(0);
  copyFileSync(signed, join(folder, "foo.raw"));
  const told = execFileSync("systemd-dissect", ["--json=short", join(folder, "foo.raw")], { encoding: "utf8" });
  expect(told).toMatch(/"designator":"root".*"fstype":"squashfs","architecture":"x86-64","verity":"(signed|yes)"/);
});

test("the same bytes twice; another architecture has its own types", async () => {
  const [first, second] = [await make("once", { signing: signing() }), await make("twice", { signing: signing() })];
  expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
  const arm = partitions(await make("arm", {}, "arm64"));
  expect(arm.map(({ type }) => type)).toEqual([
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
    "df3300ce-d69f-4c92-978c-9bfb0f38d820",
  ]);
  await expect(make("sparc", {}, "sparc64")).rejects.toMatchObject({ code: "pack-architecture" });
});

test("it can be looked into", async () => {
  const opened = await openExtension(await make("look", {}), context);
  try {
    expect(opened.format).toBe("ddi");
    expect(opened.rootfs.lookup(rootPath("/usr/lib/foo"))).toMatchObject({ size: 900_000 });
  } finally {
    opened.close();
  }
});

test("keys that are none leave nothing behind", async () => {
  for (const broken of [
    { certificate: join(folder, "key.pem") },
    { privateKey: join(folder, "cert.pem") },
    { certificate: "/none" },
  ]) {
    await expect(make("broken", { signing: { ...signing(), ...broken } })).rejects.toThrow();
    expect(() => readFileSync(join(folder, "broken.raw"))).toThrow();
  }
});

test("trees of every height are veritysetup's", () => {
  const salt = Buffer.from("5a17".repeat(16), "hex");
  const uuid = Buffer.alloc(16, 7);
  const blocks = fc.constantFrom(2, 3, 127, 128, 129, 300, 128 * 128, 128 * 128 + 1);
  fc.assert(
    fc.property(blocks, fc.integer({ min: 1, max: 70_000 }), (count, step) => {
      const data = Buffer.alloc(count * 4096, count & 0xff);
      data.writeUInt32LE(count, data.length - 4);
      const builder = openHashTree(salt, uuid);
      for (let at = 0; at < data.length; at += step * 64) builder.update(data.subarray(at, at + step * 64));
      const built = builder.finish();
      expect(verify(data, built.bytes, Buffer.from(built.rootHash).toString("hex"))).toBe(true);
    }),
    { numRuns: 12 },
  );
});
