import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { packTree } from "../../src/pack/pack.ts";
import { finishRecipe } from "../../src/recipes/finish.ts";
import { recipeNames } from "../../src/recipes/recipe.ts";
import { planShipped, portsTo } from "../support/recipes.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";
import { bootAndRun, copyRoot, runInRoot, systemd257 } from "./pack-guest.ts";

let mirror: WebMirror;
let folder: string;
let guest: string;
beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-units-"));
  guest = copyRoot(systemd257());
});
afterAll(async () => {
  await mirror.close();
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

async function bake(name: string, format: "dir" | "squashfs", output: string): Promise<void> {
  serveUpstream(mirror, upstreams[name]!);
  const planned = await planShipped(name, portsTo(mirror, join(folder, "cache")));
  try {
    await packTree(
      buildTree(finishRecipe(planned, { tool: "test" }), { name }),
      { format, output, epoch: 0 },
      quietContext({ env: process.env }),
    );
  } finally {
    planned.close();
  }
}

test("systemd 257 finds nothing wrong with any unit, user or tmpfiles rule", async () => {
  const root = copyRoot(systemd257());
  try {
    for (const name of recipeNames("recipes")) {
      await bake(name, "dir", join(folder, name));
      execFileSync("cp", ["-a", "--no-target-directory", join(folder, name, "usr"), join(root, "usr")]);
    }
    const units = ["lib", "local/lib"].flatMap((place) =>
      readdirSync(join(root, "usr", place, "systemd/system")).filter((name) => /\.(service|socket)$/.test(name)),
    );
    const ours = units.filter((unit) =>
      /^(bird|chron|cilium|coder|consul|containerd|crio|data|docker|falco|haproxy|k3s|keepalived|kubelet|nats|nebula|nomad|nvidia|ollama|rke2|scx|tailscale|vault|wasm)/.test(
        unit,
      ),
    );
    expect(ours.length).toBeGreaterThan(35);
    // Every host has procps; the smallest Debian has not.
    symlinkSync("true", join(root, "usr/bin/kill"));
    // The accounts first: units name them.
    expect(runInRoot(root, ["systemd-sysusers"]).output.replace(/^Creating .*\n/gm, "")).toBe("");
    const tmpfiles = readdirSync(join(root, "usr/lib/tmpfiles.d")).filter((name) =>
      recipeNames("recipes").includes(name.replace(/\.conf$/, "")),
    );
    expect(runInRoot(root, ["systemd-tmpfiles", "--create", ...tmpfiles])).toEqual({ status: 0, output: "" });
    expect(runInRoot(root, ["systemd-analyze", "verify", "--man=no", ...ours])).toEqual({ status: 0, output: "" });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("merged at boot, services start as they should, and let go of the host", async () => {
  const extensions = join(guest, "var/lib/extensions");
  mkdirSync(extensions, { recursive: true });
  const names = [
    "docker",
    "tailscale",
    "k3s",
    "kubernetes",
    "nebula",
    "consul",
    "vault",
    "ollama",
    "wasmcloud",
    "coder",
    "rke2",
  ];
  for (const name of names) await bake(name, "squashfs", join(extensions, `${name}.raw`));
  const said = bootAndRun(
    guest,
    `
# What is upheld starts beside the boot, not before its end.
for _ in $(seq 100); do systemctl is-active docker.socket containerd tailscaled kubelet ollama nats wasmcloud consul vault | grep -qv ^active || break; sleep 0.2; done
state() { echo "$1 $(systemctl is-active $1)"; }
for unit in docker.socket containerd tailscaled kubelet ollama nats wasmcloud consul vault nebula k3s docker coder; do state $unit; done
systemctl start docker k3s rke2-server && state docker && state k3s && state rke2-server
echo "socket $(stat -c '%G %a' /run/docker.sock)"
echo "defaults $(cat /etc/default/tailscaled | head -1)"
echo "users $(id -un consul vault | tr '\\n' ' ')"
echo "vault $(stat -c '%U:%G %a' /etc/vault.d/vault.hcl)"
echo "kubectl $(readlink /usr/local/bin/kubectl)"
echo "version $(cat /etc/kubernetes-version)"
systemctl stop docker.socket docker containerd 2>/dev/null
systemd-sysext unmerge >/dev/null 2>&1
echo "left $(ls /usr/bin/dockerd /usr/bin/tailscaled 2>/dev/null | wc -l)"
`,
  );
  expect(said.trim().split("\n")).toEqual([
    "docker.socket active",
    "containerd active",
    "tailscaled active",
    "kubelet active",
    "ollama active",
    "nats active",
    "wasmcloud active",
    "consul active",
    "vault active",
    // Waits for its configuration.
    "nebula inactive",
    "k3s inactive",
    "docker inactive",
    "coder inactive",
    "docker active",
    "k3s active",
    "rke2-server active",
    "socket docker 660",
    'defaults PORT="41641"',
    "users consul vault ",
    "vault root:vault 640",
    // Of kubernetes and k3s, which both have it, the later name wins in a merge; here k3s has it in another folder.
    "kubectl k3s",
    "version v1.32.2",
    "left 0",
  ]);
});
