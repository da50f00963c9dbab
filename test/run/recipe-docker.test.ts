import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { packTree } from "../../src/pack/pack.ts";
import { finishRecipe } from "../../src/recipes/finish.ts";
import { planShipped, portsTo } from "../support/recipes.ts";
import { standIn } from "../support/stand-in.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";
import { bootAndRun, configuredRoot, copyRoot, systemd257 } from "./pack-guest.ts";

let mirror: WebMirror;
let folder: string;
let guest: string;
let debian: string;
beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-docker-"));
  guest = copyRoot(systemd257());
  debian = configuredRoot("trixie", ["docker.io", "docker-cli"]);
});
afterAll(async () => {
  await mirror.close();
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

/** Debian's Docker in the shape of Docker's own static archive. */
function dockerArchive(): Buffer {
  const programs = [
    "usr/bin/docker",
    "usr/sbin/dockerd",
    "usr/bin/docker-init",
    "usr/sbin/docker-proxy",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
    "usr/sbin/runc",
  ];
  return execFileSync("tar", ["-C", debian, "-cz", "--dereference", "--transform", "s,.*/,docker/,", ...programs], {
    maxBuffer: 1 << 30,
  });
}

test("Docker's engine starts by its socket in a booted guest and takes an image", async () => {
  mirror.set("https://download.docker.com/linux/static/stable/x86_64/docker-24.0.9.tgz", dockerArchive());
  const planned = await planShipped("docker", portsTo(mirror, join(folder, "cache")));
  const extensions = join(guest, "var/lib/extensions");
  mkdirSync(extensions, { recursive: true });
  const tree = buildTree(finishRecipe(planned, { tool: "test" }), { name: "docker" });
  await packTree(
    tree,
    { format: "dir", output: join(extensions, "docker"), epoch: 0 },
    quietContext({ env: process.env }),
  );
  planned.close();

  // A guest in a namespace has no packet filter, no overlays and no writable cgroups: the engine runs, containers do not.
  const dropIn = join(guest, "etc/systemd/system/docker.service.d");
  mkdirSync(dropIn, { recursive: true });
  writeFileSync(
    join(dropIn, "test.conf"),
    '[Service]\nEnvironment="DOCKER_OPTS=--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs"\n',
  );
  writeFileSync(join(guest, "hello"), standIn("x86-64"), { mode: 0o755 });

  const said = bootAndRun(
    guest,
    `
for _ in $(seq 100); do systemctl is-active docker.socket containerd | grep -qv ^active || break; sleep 0.2; done
echo "before $(systemctl is-active docker.socket containerd docker | tr '\\n' ' ')"
echo "driver $(docker info --format '{{.Driver}} {{.DefaultRuntime}} {{.CgroupDriver}}' 2>&1)"
echo "after $(systemctl is-active docker)"
tar -C / -c hello | docker import - hello >/dev/null
echo "images $(docker images --format "{{.Repository}}")"
systemctl stop docker.socket docker containerd 2>/dev/null
systemd-sysext unmerge >/dev/null 2>&1
echo "left $(ls /usr/bin/docker 2>/dev/null | wc -l)"
`,
  );
  expect(said.trim().split("\n")).toEqual([
    "before active active inactive ",
    expect.stringMatching(/^driver vfs runc (systemd|cgroupfs)$/),
    "after active",
    "images hello",
    "left 0",
  ]);
}, 180_000);
