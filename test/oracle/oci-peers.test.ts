import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { openImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { fingerprint } from "../support/compare-roots.ts";
import { debianRoot } from "../support/debian-root.ts";
import { startEngine } from "../support/engines.ts";
import { scratch, sh } from "../support/program.ts";
import { startRegistry } from "../support/registry.ts";
import { startTokenRealm } from "../support/token-realm.ts";

/**
 * Images of a Debian root with more than 40 packages, made by docker and by buildah, carried by docker, podman and
 * skopeo through registries that want to know who asks; judged by `umoci unpack` and `docker export`.
 */
const work = scratch();
const isRoot = process.getuid?.() === 0;
const docker = isRoot ? await startEngine("docker") : undefined;
const podman = isRoot ? await startEngine("podman") : undefined;
const hash = sh(`perl -e 'print crypt("password", q($2y$05$flixwrapflixwrapflixwu))'`);
writeFileSync(join(work, "htpasswd"), `user:${hash}\n`);
const closed = await startRegistry([`auth: { htpasswd: { realm: test, path: "${work}/htpasswd" } }`]);
const realm = await startTokenRealm();
const guarded = await startRegistry(realm.settings);

/** What the first layer has beside Debian's files, and how the upper layers change it. */
const odd = `mkdir -p odd/replaced odd/emptied odd/tolink odd/gone; echo lower > odd/file; echo x > odd/replaced/a
  echo x > odd/emptied/a; echo x > odd/tolink/a; ln -s file odd/link; ln odd/file odd/hard; chown 33:42 odd/hard; chmod 2751 odd/hard`;
const changes = [
  `rm -rf usr/share/doc usr/share/nginx odd/replaced odd/link odd/emptied/a odd/tolink odd/gone
  echo now a file > odd/replaced; mkdir odd/link; echo in a folder > odd/link/f; ln -s ../usr odd/tolink
  echo upper > odd/upper; chown 7:8 odd/upper; chmod 4755 usr/bin/curl odd/upper; chmod 1777 odd/emptied`,
  `rm -rf usr/lib/python3.11; mkdir usr/lib/python3.11; echo only > usr/lib/python3.11/this; rm odd/hard; ln odd/upper odd/hard2`,
];
const script = (text: string): string => text.replaceAll(/\s*\n\s*/g, "; ");

beforeAll(() => {
  if (!isRoot) return;
  const root = debianRoot(["coreutils", "curl", "dash", "nginx-light", "python3-minimal"]);
  expect(readdirSync(`${root}/usr/share/doc`).length).toBeGreaterThan(40);
  sh(`mkdir ${work}/context; cp -a ${root} ${work}/root; cd ${work}/root; ${odd}
    mknod odd/null c 1 3; mkfifo odd/pipe; setcap cap_net_raw+ep usr/sbin/nginx; mkdir -p proc sys etc; echo own > etc/hosts
    tar --xattrs --xattrs-include='*' --numeric-owner --format=posix -cf ${work}/context/root.tar .`);
}, 300_000);

async function read(
  reference: string,
  more: Partial<OpenOptions> = {},
  env: Record<string, string> = {},
): Promise<string[]> {
  const { rootfs, close } = await openImage(parseReference(reference), {
    context: quietContext({ env: { PATH: process.env.PATH, HOME: work, ...docker?.env, ...podman?.env, ...env } }),
    // A cache of its own for each source: layers must come from where they are said to come from.
    cacheDir: join(work, `cache-${reference.replaceAll(/\W/g, "-")}`),
    ...more,
  });
  const lines = fingerprint(rootfs, { times: false });
  close();
  return lines;
}
const inFolder = (path: string): string[] => fingerprint(openFolder(path), { times: false });
const creds = "user:password";

/** That the image is what it was meant to be. */
function expectOdd(lines: readonly string[]): void {
  const count = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
  expect(lines.length).toBeGreaterThan(1200);
  expect(count(/^\/usr\/share\/doc|^\/odd\/(gone|link symlink|hard )|python3\.11\/os/)).toBe(0);
  expect(count(/^\/odd\/replaced file|^\/odd\/link directory|^\/odd\/tolink symlink|python3\.11\/this file/)).toBe(4);
  expect(count(/^\/odd\/(hard2|upper) file 4755 7 8/)).toBe(2);
  expect(count(/security\.capability=01/)).toBe(1);
  expect(count(/ character-device | fifo /)).toBeGreaterThan(1);
}

describe.skipIf(docker === undefined || podman === undefined)("an image that docker built", () => {
  let wanted: string[];
  beforeAll(() => {
    const runs = changes.map((change) => `RUN cd / && ${script(change)}`).join("\n");
    writeFileSync(
      join(work, "context/Dockerfile"),
      `FROM scratch\nADD root.tar /\n${runs}\nENV KEY=VALUE\nCMD ["/bin/sh"]\n`,
    );
    docker!.sh(`
      docker build -q --network none -t ${closed.address}/test/docker:t ${work}/context
      docker save ${closed.address}/test/docker:t > ${work}/saved.tar
      docker create --name made ${closed.address}/test/docker:t
      mkdir ${work}/exported; docker export made | tar -xpf - --numeric-owner --xattrs --xattrs-include='*' -C ${work}/exported
      docker rm made
      docker login -u user -p password ${closed.address} 2>&1
      docker push -q ${closed.address}/test/docker:t`);
    podman!.sh(`podman pull -q --tls-verify=false --creds ${creds} ${closed.address}/test/docker:t`);
    sh(`skopeo copy -q docker-archive:${work}/saved.tar oci:${work}/layout:docker
      umoci unpack --image ${work}/layout:docker ${work}/unpacked-docker
      skopeo copy -q --dest-compress-format zstd --dest-tls-verify=false --dest-creds ${creds} oci:${work}/layout:docker docker://${closed.address}/test/zstd:t`);
    wanted = inFolder(`${work}/unpacked-docker/rootfs`);
    expectOdd(wanted);
  }, 300_000);

  it.each([
    ["docker-daemon:", () => read(`docker-daemon:${closed.address}/test/docker:t`)],
    ["docker save", () => read(`docker-archive:${work}/saved.tar`)],
    ["podman, which pulled it", () => read(`podman:${closed.address}/test/docker:t`)],
    ["the registry with htpasswd, by docker push", () => read(`${closed.address}/test/docker:t`, { creds })],
    ["the same with zstd, by skopeo", () => read(`${closed.address}/test/zstd:t`, { creds })],
  ])("is the root that umoci unpacks, from %s", async (_, root) => {
    expect(await root()).toEqual(wanted);
  });

  it("is the root that docker exports, but for what docker puts there", async () => {
    const injected = /^\/(\.dockerenv|dev|proc|sys|etc\/(hosts|hostname|resolv\.conf|mtab))(\/| )/;
    const own = (lines: string[]): string[] => lines.filter((line) => !injected.test(line));
    expect(own(await read(`docker-daemon:${closed.address}/test/docker:t`))).toEqual(own(inFolder(`${work}/exported`)));
  });

  it("is refused without a password, and with a wrong one", async () => {
    for (const options of [{}, { creds: "user:wrong" }]) {
      await expect(
        read(`${closed.address}/test/docker:t`, { ...options, cacheDir: `${work}/refused` }),
      ).rejects.toMatchObject({
        code: "oci-denied",
      });
    }
  });
});

describe.skipIf(podman === undefined)("an image that buildah made", () => {
  let wanted: string[];
  const command = promisify(execFile);
  beforeAll(async () => {
    const change = (text: string, n: number): string => `
      c=$(buildah from image-${n}); cd $(buildah mount $c); ${script(text)}; cd /
      buildah umount $c; buildah commit -q $c image-${n + 1}; buildah rm $c`;
    podman!.sh(`
      c=$(buildah from scratch); buildah add -q $c ${work}/context/root.tar /; buildah commit -q $c image-0; buildah rm $c
      ${changes.map(change).join("\n")}
      buildah push -q image-${changes.length} oci:${work}/layout:buildah`);
    sh(`umoci unpack --image ${work}/layout:buildah ${work}/unpacked-buildah`);
    for (const name of ["public/app", "private/app"]) {
      const to = `docker://${guarded.address}/${name}:t`;
      await command("skopeo", [
        ..."copy -q --dest-tls-verify=false --dest-creds".split(" "),
        creds,
        `oci:${work}/layout:buildah`,
        to,
      ]);
    }
    wanted = inFolder(`${work}/unpacked-buildah/rootfs`);
    expectOdd(wanted);
    realm.asked.length = 0;
  }, 300_000);

  it.each([
    ["podman:", () => read(`podman:localhost/image-${changes.length}`), []],
    ["the layout", () => read(`oci:${work}/layout:buildah`), []],
    [
      "a registry with tokens, for everybody",
      () => read(`${guarded.address}/public/app:t`),
      ["GET - repository:public/app:pull"],
    ],
    [
      "the same, for those who are known",
      () => read(`${guarded.address}/private/app:t`, { creds }),
      ["GET user repository:private/app:pull"],
    ],
    ["the same, with an identity token", () => withIdentity("refresh"), ["POST user repository:private/app:pull"]],
  ])("is the root that umoci unpacks, from %s", async (_, root, asked) => {
    realm.asked.length = 0;
    expect(await root()).toEqual(wanted);
    // One token for the manifest and all blobs.
    expect(realm.asked).toEqual(asked);
  });

  const withIdentity = (identitytoken: string): Promise<string[]> => {
    const folder = join(work, `config-${identitytoken}`);
    mkdirSync(folder, { recursive: true });
    const auths = {
      [guarded.address]: {
        auth: Buffer.from("00000000-0000-0000-0000-000000000000:").toString("base64"),
        identitytoken,
      },
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify({ auths }));
    return read(`${guarded.address}/private/app:t`, { cacheDir: join(folder, "cache") }, { DOCKER_CONFIG: folder });
  };

  it.each([
    ["nobody", () => read(`${guarded.address}/private/app:t`, { cacheDir: `${work}/refused` })],
    [
      "a wrong password",
      () => read(`${guarded.address}/private/app:t`, { cacheDir: `${work}/refused`, creds: "user:wrong" }),
    ],
    ["a wrong identity token", () => withIdentity("stale")],
  ])("is refused to %s", async (_, root) => {
    await expect(root()).rejects.toMatchObject({ code: "oci-denied" });
  });
});
