import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { planRelease } from "../../src/extension/release.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import type { PackOptions } from "../../src/pack/packer.ts";
import { packTree } from "../../src/pack/pack.ts";
import { scratch } from "../support/program.ts";
import { type VerityCase, mergeWithVerity } from "./verity-guest.ts";

const folder = scratch();
// Noise that no compressor shortens: a byte at three eighths of the partition is one of this file. udev, which looks for
// signatures of file systems up to 512K, does not read it; a byte that it reads keeps the image from being merged at all.
const noise = Buffer.concat(
  Array.from({ length: 32_768 }, (_, at) => createHash("sha256").update(String(at)).digest()),
);
const sum = createHash("sha256").update(noise).digest("hex");

function makeKey(name: string) {
  const words = `req -x509 -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.crt -days 30 -subj /CN=${name}`;
  execFileSync("openssl", words.split(" "), { cwd: folder, stdio: "pipe" });
  return { signing: { privateKey: join(folder, `${name}.key`), certificate: join(folder, `${name}.crt`) } };
}

async function make(name: string, options: PackOptions): Promise<string> {
  const actions = [
    planRelease({ name: "foo", architecture: "x86-64" }),
    { kind: "write", to: extPath("/usr/lib/foo/noise"), content: noise, mode: 0o644, why: "" } as const,
  ];
  const output = join(folder, `${name}.raw`);
  const tree = buildTree({ source: memoryRootfs({}), actions, warnings: [] }, { name: "foo" });
  await packTree(tree, { format: "ddi", output, ...options }, quietContext({ env: process.env }));
  return output;
}

/** Where partitions stand (bytes), and what their identities are, as sfdisk says. */
function partitionsOf(
  image: string,
): readonly { readonly start: number; readonly size: number; readonly uuid: string }[] {
  const { partitiontable } = JSON.parse(execFileSync("sfdisk", ["--json", image], { encoding: "utf8" })) as {
    readonly partitiontable: { readonly partitions: { start: number; size: number; uuid: string }[] };
  };
  return partitiontable.partitions.map(({ start, size, uuid }) => ({ start: start * 512, size: size * 512, uuid }));
}

/** The same image with one byte changed. */
function changed(image: string, name: string, at: number, change = (byte: number) => byte ^ 1): string {
  const bytes = readFileSync(image);
  bytes[at] = change(bytes[at]!);
  const path = join(folder, `${name}.raw`);
  writeFileSync(path, bytes);
  return path;
}

/** Still base64. */
const otherLetter = (byte: number) => (byte === 0x41 ? 0x42 : 0x41);

test("a kernel with dm-verity reads a good image and refuses every changed one", async () => {
  const [trusted, stranger] = [makeKey("trusted"), makeKey("stranger")];
  const signed = await make("signed", trusted);
  const plain = await make("plain", {});
  const [data, hashes, signature] = partitionsOf(signed);
  const text = readFileSync(signed).toString("latin1");
  const signatureAt = text.indexOf('"signature":"', signature!.start) + '"signature":"'.length;
  const signatureEnd = text.indexOf('"', signatureAt);
  const rootHash = partitionsOf(plain)
    .map(({ uuid }) => uuid.replaceAll("-", "").toLowerCase())
    .join("");
  const otherHash = rootHash.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));

  const cases: readonly (VerityCase & { readonly wanted: string })[] = [
    { name: "signed", image: signed, policy: "root=signed", wanted: sum },
    {
      name: "signed-erofs",
      image: await make("erofs", { ...trusted, filesystem: "erofs" }),
      policy: "root=signed",
      wanted: sum,
    },
    {
      name: "data",
      image: changed(signed, "data", data!.start + ((data!.size * 3) >> 3)),
      policy: "root=signed",
      wanted: "unreadable",
    },
    // Behind the superblock and the top of the tree: a hash that every look at the file system's begin needs.
    {
      name: "hash",
      image: changed(signed, "hash", hashes!.start + 2 * 4096 + 8),
      policy: "root=signed",
      wanted: "refused",
    },
    {
      name: "signature",
      image: changed(signed, "signature", (signatureAt + signatureEnd) >> 1, otherLetter),
      policy: "root=signed",
      wanted: "refused",
    },
    { name: "stranger", image: await make("stranger", stranger), policy: "root=signed", wanted: "refused" },
    { name: "unsigned", image: plain, policy: "root=signed", wanted: "refused" },
    { name: "root-hash", image: plain, policy: "root=verity", rootHash, wanted: sum },
    { name: "other-root-hash", image: plain, policy: "root=verity", rootHash: otherHash, wanted: "refused" },
  ];
  const outcomes = mergeWithVerity(cases, trusted.signing.certificate, "/usr/lib/foo/noise");
  expect(Object.fromEntries(outcomes)).toEqual(Object.fromEntries(cases.map(({ name, wanted }) => [name, wanted])));
}, 300_000);
