import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { formatUuid, hashUuid } from "../../core/uuid.ts";
import { parseRelease, releaseFolder } from "../../extension/release.ts";
import type { ExtensionTree } from "../../extension/tree.ts";
import { removeAfter } from "../../host/temp.ts";
import { erofs } from "../erofs.ts";
import { treeUuid } from "../identity.ts";
import { type PackOptions, type Packer, hasMagic } from "../packer.ts";
import { squashfs } from "../squashfs.ts";
import { type Partition, layOutDisk } from "./gpt.ts";
import { signRootHash } from "./signature.ts";
import { type HashTree, BLOCK, openHashTree } from "./verity.ts";

/** Partition types of root, its hashes and their signature (Discoverable Partitions Specification), by ARCHITECTURE=. */
const partitionTypes: Readonly<Record<string, readonly [root: string, verity: string, signature: string]>> = {
  "x86-64": [
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
    "41092b05-9fc8-4523-994f-2def0408b176",
  ],
  arm64: [
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
    "df3300ce-d69f-4c92-978c-9bfb0f38d820",
    "6db69de6-29f4-4758-a7a5-962190f00ce3",
  ],
};

/** Every type a root partition may have; for readers. */
export const rootTypes: ReadonlySet<string> = new Set(Object.values(partitionTypes).map(([root]) => root));

/**
 * A discoverable disk image: the file system (squashfs, or erofs by option), its dm-verity hashes, and, with a key,
 * their signature, in a GUID partition table. Made here: without root, without loop devices, the same bytes always
 * (RSA signatures are, too; those of elliptic curves differ by nature).
 */
export const ddi: Packer = {
  kind: "file",
  suffix: ".raw",
  takes: ["compression", "level", "blockSize", "filesystem", "seed", "signing"],
  recognise: (head) => hasMagic(head, 512, "EFI PART") && hasMagic(head, 510, [0x55, 0xaa]),
  async pack(tree, output, options, context) {
    const architecture = architectureOf(tree);
    const types = partitionTypes[architecture]!;
    const content = `${output}.content`;
    await removeAfter(content, async () => {
      await (options.filesystem === "erofs" ? erofs : squashfs).pack(tree, content, options, context);
      await assemble(tree, architecture, types, content, output, options, context);
    });
  },
};

async function assemble(
  tree: ExtensionTree,
  architecture: string,
  types: readonly [string, string, string],
  content: string,
  output: string,
  options: PackOptions,
  context: Context,
): Promise<void> {
  const seed = options.seed ?? treeUuid(tree, "ddi");
  const derive = (what: string) => createHash("sha256").update(`${seed}\0${what}`).digest();
  const { bytes, rootHash } = await hashFile(content, derive("salt"), derive("verity"), context.signal);
  const size = Math.ceil((await stat(content)).size / BLOCK) * BLOCK;
  const signature = options.signing === undefined ? undefined : await signRootHash(rootHash, options.signing, context);
  const label = `root-${architecture}`;
  // The two halves of the root hash are the partitions' identities: that is how one is found for the other.
  const partitions: Partition[] = [
    { type: types[0], id: formatUuid(rootHash.subarray(0, 16)), label, size },
    { type: types[1], id: formatUuid(rootHash.subarray(16, 32)), label: `${label}-verity`, size: bytes.length },
  ];
  if (signature !== undefined)
    partitions.push({
      type: types[2],
      id: hashUuid(derive("signature")),
      label: `${label}-verity-sig`,
      size: signature.length,
    });
  const disk = layOutDisk(partitions, hashUuid(derive("disk")));
  const file = await open(output, "wx");
  try {
    await file.truncate(disk.size);
    await writeAll(file, disk.head, 0);
    await copyInto(file, content, disk.starts[0]!, context.signal);
    await writeAll(file, bytes, disk.starts[1]!);
    if (signature !== undefined) await writeAll(file, signature, disk.starts[2]!);
    await writeAll(file, disk.tail, disk.size - disk.tail.length);
  } finally {
    await file.close();
  }
  await rm(content);
}

async function hashFile(path: string, salt: Uint8Array, uuid: Uint8Array, signal: AbortSignal): Promise<HashTree> {
  const tree = openHashTree(salt, uuid);
  let size = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    tree.update(chunk as Buffer);
    size += (chunk as Buffer).length;
  }
  if (size % BLOCK !== 0) tree.update(new Uint8Array(BLOCK - (size % BLOCK)));
  return tree.finish();
}

async function copyInto(file: FileHandle, path: string, start: number, signal: AbortSignal): Promise<void> {
  let at = start;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    await writeAll(file, chunk as Buffer, at);
    at += (chunk as Buffer).length;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, start: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, start + done)).bytesWritten;
}

/** ARCHITECTURE= of the tree's own extension-release: the partitions' types say it, too. */
function architectureOf(tree: ExtensionTree): string {
  for (const [path, node] of tree.nodes) {
    if (!path.startsWith(`${releaseFolder}/`) || node.type !== "file") continue;
    const text = Buffer.from(node.content.read(0, 65_536)).toString("utf8");
    const architecture = parseRelease(text).get("ARCHITECTURE");
    if (architecture !== undefined && Object.hasOwn(partitionTypes, architecture)) return architecture;
    throw new FlixwrapError("pack-architecture", {
      what: "a DDI is for one architecture",
      where: path,
      got: architecture === undefined ? "no ARCHITECTURE=" : `ARCHITECTURE=${architecture}`,
      wanted: Object.keys(partitionTypes).join(", "),
    });
  }
  throw new FlixwrapError("pack-architecture", { what: "a DDI needs an extension-release", where: tree.name });
}
