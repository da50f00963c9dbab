import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { rootPath } from "../../src/core/paths.ts";
import type { Rootfs } from "../../src/oci/rootfs.ts";
import type { Listing } from "./pack-listing.ts";

/** A root as {@link listTree} tells a tree. */
export async function listRootfs(rootfs: Rootfs): Promise<Listing> {
  const listing: Listing = {};
  const first = new Map<string, string>();
  for (const node of rootfs.walk(rootPath("/"))) {
    const bytes = node.type === "file" ? await buffer(rootfs.open(node).stream()) : undefined;
    const hash = createHash("sha256")
      .update(bytes ?? "")
      .digest("hex")
      .slice(0, 16);
    const body = node.type === "symlink" ? `-> ${node.target}` : bytes === undefined ? "" : `${bytes.length} ${hash}`;
    const device = node.device === undefined ? [] : [`${node.device.major}:${node.device.minor}`];
    const xattrs = [...node.xattrs]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}=0x${Buffer.from(value).toString("hex")}`);
    const same = node.type === "file" ? (first.get(node.identity) ?? node.path) : node.path;
    first.set(node.identity, same);
    const mode = node.type === "symlink" ? "777" : node.mode.toString(8);
    listing[node.path] = [
      node.type,
      mode,
      `${node.uid}:${node.gid}`,
      body,
      ...device,
      ...xattrs,
      same === node.path ? "" : `= ${same}`,
    ]
      .join(" ")
      .trim();
  }
  return listing;
}

/** Shapes that our own packer never makes; attributes of so many bytes. */
export const shapesWith = (attribute: number): string => `
mkdir -p usr/bin usr/many usr/deep/$(seq -s/ 1 60)
for i in $(seq 1 700); do echo $i >usr/many/file-with-a-rather-long-name-$i; done
mknod usr/null c 1 3; mknod usr/big b 259 70000; mkfifo usr/pipe
echo linked >usr/one; ln usr/one usr/two; ln usr/one usr/bin/three
ln -s $(printf 'x%.0s' $(seq 1 300)) usr/long-link
setfattr -n user.big -v "$(head -c ${attribute} /dev/zero | tr '\\0' y)" usr/one
setfattr -n user.big -v "$(head -c ${attribute} /dev/zero | tr '\\0' y)" usr/bin
setfattr -n user.small -v 0x00ff0a usr/bin
setfattr -n trusted.t -v 1 usr/many
truncate -s 5M usr/hole; printf end >>usr/hole
head -c 700000 /dev/urandom >usr/noise
chmod 4711 usr/noise; chown 70000:80000 usr/noise
mkdir usr/empty; : >usr/nothing`;
