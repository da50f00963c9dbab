import { createReadStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { writeFolder } from "../../src/oci/folder-writer.ts";
import { openImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { fingerprint } from "../support/compare-roots.ts";
import { debianRoot } from "../support/debian-root.ts";
import { scratch, sh } from "../support/program.ts";
import { startRegistry, type TestRegistry } from "../support/registry.ts";

const work = scratch();
const options: OpenOptions = { context: quietContext({ env: { PATH: process.env.PATH } }), cacheDir: `${work}/cache` };
let registry: TestRegistry;
/** What umoci made of the same image: path by path. */
let wanted: string[];

/**
 * A Debian root of more than 40 packages in four layers: by umoci, which compares folders and writes whiteouts;
 * files and folders are deleted, replaced by other types, linked across layers, given attributes of every kind.
 */
beforeAll(async () => {
  registry = await startRegistry();
  const root = debianRoot(["curl", "nginx-light", "python3-minimal"]);
  const layout = join(work, "layout");
  mkdirSync(join(work, "small"));
  sh(`
    umoci init --layout ${layout}; umoci new --image ${layout}:t
    umoci unpack --image ${layout}:t ${work}/bundle
    cp -a ${root}/. ${work}/bundle/rootfs/
    cd ${work}/bundle/rootfs
    mkdir -p odd/replaced odd/emptied odd/tolink; echo lower > odd/file; echo x > odd/replaced/a; echo x > odd/emptied/a
    echo x > odd/tolink/a; ln -s file odd/link; ln odd/file odd/hard; mkfifo odd/pipe; mknod odd/null c 1 3; mknod odd/loop b 7 300
    umoci repack --refresh-bundle --image ${layout}:t ${work}/bundle
    rm -rf usr/share/doc usr/share/nginx odd/replaced odd/link odd/emptied/a odd/tolink
    echo now a file > odd/replaced; mkdir odd/link; echo in a folder > odd/link/f; ln -s ../usr odd/tolink
    echo upper > odd/upper; ln odd/hard odd/hard2; chmod 4755 usr/bin/curl; chown 33:42 odd/upper; chmod 1777 odd/emptied
    touch -d 1999-12-31T23:59:59.123456789Z odd/upper
    umoci repack --refresh-bundle --image ${layout}:t ${work}/bundle
    setfattr -n user.comment -v 0x00ff0a61 odd/upper; setcap cap_net_raw+ep usr/sbin/nginx
    rm -rf usr/lib/python3.11; mkdir usr/lib/python3.11; echo only > usr/lib/python3.11/this; rm odd/hard
    umoci repack --image ${layout}:t ${work}/bundle
    umoci config --image ${layout}:t --config.env KEY=VALUE --config.cmd /bin/sh --config.user 33:33
    rm -rf ${work}/bundle; umoci unpack --image ${layout}:t ${work}/bundle
    skopeo copy -q oci:${layout}:t docker-archive:${work}/docker.tar:test/image:t
    skopeo copy -q oci:${layout}:t oci-archive:${work}/oci.tar:t
    skopeo copy -q oci:${layout}:t dir:${work}/skopeo
    skopeo copy -q --dest-tls-verify=false oci:${layout}:t docker://${registry.address}/test/image:t
    skopeo copy -q --dest-tls-verify=false --format v2s2 oci:${layout}:t docker://${registry.address}/test/schema2:t
    zstd -q ${work}/oci.tar -o ${work}/oci.tar.zst; xz -0 -k ${work}/docker.tar
  `);
  wanted = fingerprint(openFolder(`${work}/bundle/rootfs`));
  // What the comparison is worth depends on what is in the root.
  const count = (pattern: RegExp): number => wanted.filter((line) => pattern.test(line)).length;
  expect(wanted.length).toBeGreaterThan(1200);
  expect(count(/user\.comment=00ff0a61/)).toBe(1);
  expect(count(/security\.capability=01/)).toBe(1);
  expect(count(/ (character|block)-device | fifo /)).toBe(11);
  expect(count(/ directory 1777 0 0 .*odd|emptied directory 1777/)).toBe(1);
  expect(count(/^\/odd\/hard2 .* \/odd\/(file|hard)/)).toBe(1);
  expect(sh(`tar -tf ${work}/docker.tar | grep -c 'layer.tar$\\|[0-9a-f]\\.tar$'`).trim()).not.toBe("0");
});

describe("a Debian image in four layers is the same root for umoci and for us", () => {
  it.each([
    ["an OCI layout", () => `oci:${work}/layout:t`],
    ["a registry", () => `${registry.address}/test/image:t`],
    ["a registry, Docker's schema 2", () => `${registry.address}/test/schema2:t`],
    ["an OCI archive", () => `oci-archive:${work}/oci.tar:t`],
    ["docker save's archive", () => `docker-archive:${work}/docker.tar:test/image:t`],
    ["skopeo's folder", () => `dir:${work}/skopeo`],
    ["a compressed OCI archive, by its path", () => `${work}/oci.tar.zst`],
    ["a compressed archive of docker save, by its path", () => `${work}/docker.tar.xz`],
    ["a layout, by its path", () => `${work}/layout/`],
    ["an archive on standard input", () => "-"],
  ])("from %s", async (_, reference) => {
    const context = { ...options.context, stdin: () => createReadStream(`${work}/oci.tar.zst`) };
    const { image, rootfs, close } = await openImage(parseReference(reference()), { ...options, context });
    const got = fingerprint(rootfs);
    close();
    expect(got).toEqual(wanted);
    expect(image.platform).toBe("linux/amd64");
    expect(image.config).toMatchObject({ env: ["KEY=VALUE"], cmd: ["/bin/sh"], user: "33:33" });
  });

  it("and as a folder that we write", async () => {
    const { rootfs, close } = await openImage(parseReference(`oci:${work}/layout:t`), options);
    const { lost, nodes } = await writeFolder(rootfs, `${work}/written`, options.context);
    close();
    expect({ lost, nodes }).toEqual({ lost: { owners: 0, devices: 0, xattrs: 0 }, nodes: wanted.length });
    expect(fingerprint(openFolder(`${work}/written`))).toEqual(wanted);
  });

  it("and as a plain tar of the root, gzipped", async () => {
    sh(`tar -C ${work}/bundle/rootfs --xattrs --xattrs-include='*' --format=posix -czf ${work}/root.tar.gz .`);
    const { rootfs, close } = await openImage(parseReference(`tar:${work}/root.tar.gz`), options);
    const got = fingerprint(rootfs);
    close();
    expect(got).toEqual(wanted);
  });
});

it("reads nothing but one manifest of a registry when the cache is warm", async () => {
  const before = registry.requests().length;
  const { close } = await openImage(parseReference(`${registry.address}/test/image:t`), options);
  close();
  const since = registry
    .requests()
    .slice(before)
    .filter((line) => !line.startsWith("GET /v2/ "));
  expect(since).toEqual(["HEAD /v2/test/image/manifests/t 200"]);
});
