import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { finishPlan } from "../../src/extension/finish.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { openTorcx } from "../../src/image/open-torcx.ts";
import { packTree } from "../../src/pack/pack.ts";
import { planTorcx } from "../../src/wrap/torcx.ts";
import { standIn } from "../support/stand-in.ts";
import { bootAndRun, configuredRoot, copyRoot, systemd257 } from "./pack-guest.ts";
import { torcxArchives, type TorcxFiles, torcxLayouts, writeLayout } from "./torcx-images.ts";

let folder: string;
let guest: string;
let debian: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "torcx-booted-"));
  guest = copyRoot(systemd257());
  debian = configuredRoot("trixie", ["docker.io", "docker-cli"]);
});
afterAll(() => {
  vi.unstubAllEnvs();
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

const context = quietContext({ env: process.env });
const libraries = "lib/x86_64-linux-gnu";

/** The newest of Flatcar's layouts, with Debian's programs, which are dynamic, and the libraries they need. */
function dockerImage(): string {
  const places: Record<string, string> = {
    docker: "usr/bin",
    dockerd: "usr/sbin",
    "docker-init": "usr/bin",
    "docker-proxy": "usr/sbin",
    containerd: "usr/bin",
    "containerd-shim-runc-v2": "usr/bin",
    ctr: "usr/bin",
    runc: "usr/sbin",
  };
  const layout = torcxLayouts["docker:com.coreos.cl"]!;
  const names = Object.keys(places);
  const files: TorcxFiles = {
    ...Object.fromEntries(Object.entries(layout).filter(([path]) => !path.startsWith("bin/"))),
    ".torcx/manifest.json": layout[".torcx/manifest.json"]!.toString().replace(
      /"bin":\[[^\]]*\]/,
      `"bin":${JSON.stringify(names.map((name) => `/bin/${name}`))}`,
    ),
    "usr/share/containerd/config.toml": "version = 2\n",
    ...Object.fromEntries(names.map((name) => [`bin/${name}`, { program: join(debian, places[name]!, name) }])),
    ...Object.fromEntries(
      [
        "libc.so.6",
        "libsystemd.so.0",
        "libzstd.so.1",
        "libcap.so.2",
        "libm.so.6",
        "libseccomp.so.2",
        "libresolv.so.2",
      ].map((name) => [`${libraries}/${name}`, { program: join(debian, "usr", libraries, name) }]),
    ),
    "lib64/ld-linux-x86-64.so.2": { program: join(debian, "usr/lib64/ld-linux-x86-64.so.2") },
  };
  const source = join(folder, "image");
  writeLayout(source, files, {});
  const archive = join(folder, "docker:20.10.torcx.tar.zst");
  torcxArchives["tar.zst"]!(source, archive);
  return archive;
}

test("docker and containerd of a Torcx image come up in a booted guest, as they were", async () => {
  const opened = await openTorcx(dockerImage(), { context, cacheDir: join(folder, "cache") });
  const plan = planTorcx(opened.rootfs, { name: "docker", image: opened.torcxName! });
  expect(plan.warnings).toEqual([expect.stringMatching(/^not put into the host's folders of libraries/)]);
  const finished = finishPlan(plan, {
    release: { name: "docker", reload: true, architecture: "x86-64" },
    manifest: { flixwrap: "0" },
  });
  const extensions = join(guest, "var/lib/extensions");
  mkdirSync(extensions, { recursive: true });
  const tree = buildTree(finished, { name: "docker" });
  await packTree(tree, { format: "dir", output: join(extensions, "docker"), epoch: 0 }, context);
  opened.close();

  writeFileSync(join(guest, "etc/group"), `${readFileSync(join(guest, "etc/group"), "utf8")}docker:x:990:\n`);
  // A guest in a namespace has no packet filter and no overlays.
  const dropIn = join(guest, "etc/systemd/system/docker.service.d");
  mkdirSync(dropIn, { recursive: true });
  writeFileSync(
    join(dropIn, "test.conf"),
    '[Service]\nEnvironment="DOCKER_OPTS=--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs"\n',
  );
  writeFileSync(join(guest, "hello"), standIn("x86-64"), { mode: 0o755 });

  // Containers in a guest: cgroups of its own that it may write, and a session keyring.
  vi.stubEnv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
  const said = bootAndRun(
    guest,
    `
for _ in $(seq 100); do systemctl is-active docker.socket containerd | grep -qv ^active || break; sleep 0.2; done
echo "before $(systemctl is-active docker.socket containerd docker | tr '\\n' ' ')"
echo "driver $(docker info --format '{{.Driver}} {{.DefaultRuntime}}' 2>&1)"
echo "after $(systemctl is-active docker)"
echo "config $(tr '\\0' ' ' < /proc/$(systemctl show -P MainPID containerd)/cmdline)"
tar -C / -c hello | docker import - hello >/dev/null
echo "images $(docker images --format "{{.Repository}}")"
echo "run $(timeout 20 docker run --rm --network none hello /hello --version 2>&1 | tail -3)"
`,
    ["--system-call-filter=@keyring bpf", "--capability=all"],
  );
  expect(said.trim().split("\n")).toEqual([
    "before active active inactive ",
    "driver vfs runc",
    "after active",
    "config /usr/bin/containerd --config /usr/share/containerd/config.toml ",
    "images hello",
    "run hello --version",
  ]);
}, 180_000);
