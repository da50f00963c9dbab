import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readElf } from "../support/elf-machine.ts";
import { extPath } from "../../src/core/paths.ts";
import { buildTree, type ExtensionTree } from "../../src/extension/tree.ts";
import { checkTree, wordFinding } from "../../src/extension/check/check.ts";
import { finishRecipe } from "../../src/recipes/finish.ts";
import type { PlannedRecipe, RecipeRequest } from "../../src/recipes/plan.ts";
import { recipeNames } from "../../src/recipes/recipe.ts";
import { leavesOf, planShipped, portsTo, textOf } from "../support/recipes.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;

beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-recipes-"));
  for (const upstream of Object.values(upstreams)) serveUpstream(mirror, upstream);
});
afterAll(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Plans, carries out, hands over, closes. */
async function bake(
  name: string,
  request: Partial<RecipeRequest>,
  look: (tree: ExtensionTree, planned: PlannedRecipe) => void,
): Promise<void> {
  const planned = await planShipped(name, portsTo(mirror, join(folder, "cache")), request);
  try {
    look(buildTree(finishRecipe(planned, { tool: "test" }), { name }), planned);
  } finally {
    planned.close();
  }
}

const programs = (folder_: string, ...names: string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [`${folder_}/${name}`, "program"]));
const unitFolder = "/usr/lib/systemd/system";
const localUnits = "/usr/local/lib/systemd/system";
const texts = (...paths: string[]): Record<string, string> => Object.fromEntries(paths.map((path) => [path, "text"]));
const upheld = (unit: string, target = "multi-user.target"): string => `${unitFolder}/${target}.d/10-${unit}.conf`;

interface Expected {
  /** Path -> `program` (an ELF file of the architecture, mode 755), `script` (a text, mode 755), `text` (mode 644), or `-> TARGET`. */
  readonly files: Readonly<Record<string, string>>;
  /** Patterns of more files that may be there; everything else is an error. */
  readonly more?: RegExp;
  /** Drop-ins that start units with the merge. */
  readonly upheld?: readonly string[];
  readonly reload: boolean;
  readonly unverified?: number;
}

const containerd = [
  `${unitFolder}/containerd.service`,
  "/usr/share/containerd/config.toml",
  "/usr/share/containerd/config-cgroupfs.toml",
];
const plugins = ["bridge", "firewall", "host-local", "loopback", "portmap", "tuning"];

/** By recipe: what the facts page names, its defects mended. */
const expected: Readonly<Record<string, Expected>> = {
  bird: {
    files: {
      ...programs("/usr/bin", "bird", "birdc", "birdcl"),
      ...texts(`${unitFolder}/bird.service`, "/usr/lib/bird/envvars"),
      "/usr/lib/bird/prepare-environment": "script",
    },
    upheld: [upheld("bird.service")],
    reload: true,
    unverified: 1,
  },
  btop: { files: { "/usr/bin/btop": "script" }, more: /^\/usr\/lib\/flixwrap\/btop\//, reload: false },
  chrony: {
    files: {
      ...programs("/usr/bin", "chronyd", "chronyc"),
      ...texts(
        `${unitFolder}/chronyd.service`,
        "/usr/lib/chrony/envvars",
        "/usr/share/chrony/chrony.conf",
        "/usr/share/man/man8/chronyd.8",
        "/usr/lib/sysusers.d/chrony.conf",
        "/usr/lib/tmpfiles.d/chrony.conf",
      ),
    },
    upheld: [upheld("chronyd.service")],
    reload: true,
    unverified: 1,
  },
  cilium: {
    files: { ...programs("/usr/local/bin", "cilium"), ...texts(`${unitFolder}/cilium.service`) },
    reload: true,
  },
  "cloud-hypervisor": { files: programs("/usr/bin", "cloud-hypervisor", "ch-remote"), reload: false },
  coder: {
    files: {
      ...programs("/usr/bin", "coder"),
      ...texts(
        `${unitFolder}/coder.service`,
        `${unitFolder}/coder-workspace-proxy.service`,
        "/usr/lib/sysusers.d/coder.conf",
        "/usr/lib/tmpfiles.d/coder.conf",
      ),
    },
    reload: true,
  },
  consul: {
    files: {
      ...programs("/usr/bin", "consul"),
      ...texts(
        `${unitFolder}/consul.service`,
        "/usr/share/consul/consul.hcl",
        "/usr/share/consul/consul.env",
        "/usr/lib/sysusers.d/consul.conf",
        "/usr/lib/tmpfiles.d/consul.conf",
      ),
    },
    upheld: [upheld("consul.service")],
    reload: true,
  },
  containerd: {
    files: {
      ...programs("/usr/bin", "containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr", "runc"),
      ...texts(...containerd),
    },
    upheld: [upheld("containerd.service")],
    reload: true,
  },
  crio: {
    files: {
      ...programs("/usr/bin", "crio", "crictl", "pinns"),
      ...programs("/usr/libexec/crio", "conmon", "conmonrs", "crun", "runc", "crio-credential-provider"),
      ...programs("/usr/share/crio/cni/bin", "bridge", "loopback"),
      ...texts(
        `${unitFolder}/crio.service`,
        `${unitFolder}/crio.service.d/10-crio.conf`,
        "/usr/share/crio/etc/crio/crio.conf.d/10-crio.conf",
        "/usr/share/crio/etc/crio/policy.json",
        "/usr/share/crio/README.md",
      ),
    },
    more: /^\/usr\/share\/(crio\/|man\/|bash-completion\/|oci-umount\/)/,
    upheld: [upheld("crio.service")],
    reload: true,
  },
  dataplaneapi: {
    files: {
      ...programs("/usr/bin", "dataplaneapi"),
      ...texts(
        `${unitFolder}/dataplaneapi.service`,
        "/usr/share/dataplaneapi/dataplaneapi.yml",
        "/usr/lib/tmpfiles.d/dataplaneapi.conf",
      ),
    },
    reload: true,
  },
  docker: {
    files: {
      ...programs(
        "/usr/bin",
        "docker",
        "dockerd",
        "docker-init",
        "docker-proxy",
        "containerd",
        "containerd-shim-runc-v2",
        "ctr",
        "runc",
      ),
      ...texts(
        ...containerd,
        `${unitFolder}/docker.service`,
        `${unitFolder}/docker.socket`,
        "/usr/lib/sysusers.d/docker.conf",
      ),
    },
    upheld: [upheld("docker.socket", "sockets.target"), upheld("containerd.service")],
    reload: true,
    unverified: 1,
  },
  "docker-buildx": { files: programs("/usr/local/lib/docker/cli-plugins", "docker-buildx"), reload: false },
  "docker-compose": { files: programs("/usr/local/lib/docker/cli-plugins", "docker-compose"), reload: false },
  falco: {
    files: {
      ...programs("/usr/bin", "falco", "falcoctl"),
      ...texts(
        "/usr/share/falco/etc/falco/falco.yaml",
        "/usr/share/falco/etc/falcoctl/falcoctl.yaml",
        "/usr/share/falco/plugins/x",
        "/usr/lib/tmpfiles.d/falco.conf",
        `${localUnits}/falco-modern-bpf.service`,
        `${localUnits}/falcoctl-artifact-follow.service`,
      ),
    },
    reload: true,
    unverified: 1,
  },
  haproxy: {
    files: {
      ...programs("/usr/bin", "haproxy"),
      ...texts(
        `${unitFolder}/haproxy.service`,
        "/usr/share/haproxy/haproxy.cfg",
        "/usr/lib/sysusers.d/haproxy.conf",
        "/usr/lib/tmpfiles.d/haproxy.conf",
      ),
    },
    reload: true,
  },
  ig: { files: programs("/usr/bin", "ig", "gadgetctl"), reload: false },
  k3s: {
    files: {
      ...programs("/usr/local/bin", "k3s"),
      "/usr/local/bin/kubectl": "-> k3s",
      "/usr/local/bin/ctr": "-> k3s",
      "/usr/local/bin/crictl": "-> k3s",
      ...texts(`${localUnits}/k3s.service`, `${localUnits}/k3s-agent.service`),
    },
    reload: true,
  },
  "kata-containers": {
    files: {
      ...programs("/opt/kata/bin", "kata-runtime", "containerd-shim-kata-v2"),
      "/opt/kata/bin/kata-collect-data.sh": "script",
      "/opt/kata/share/kata-containers/vmlinux-6.12": "text",
      "/opt/kata/share/kata-containers/vmlinux.container": "-> vmlinux-6.12",
      "/usr/bin/kata-runtime": "-> ../../opt/kata/bin/kata-runtime",
      "/usr/bin/containerd-shim-kata-v2": "-> ../../opt/kata/bin/containerd-shim-kata-v2",
      "/usr/bin/kata-collect-data.sh": "-> ../../opt/kata/bin/kata-collect-data.sh",
    },
    reload: false,
  },
  keepalived: {
    files: { ...programs("/usr/bin", "keepalived"), ...texts(`${unitFolder}/keepalived.service`) },
    upheld: [upheld("keepalived.service")],
    reload: true,
    unverified: 1,
  },
  kubernetes: {
    files: {
      ...programs("/usr/bin", "kubectl", "kubeadm", "kubelet"),
      ...programs("/usr/local/bin/cni", ...plugins),
      ...texts(
        "/usr/local/share/kubernetes-version",
        "/usr/local/share/kubernetes-cni-version",
        `${unitFolder}/kubelet.service`,
        `${unitFolder}/kubelet.service.d/10-kubeadm.conf`,
      ),
      "/usr/libexec/kubernetes/kubelet-plugins/volume/exec": "-> /var/kubernetes/kubelet-plugins/volume/exec/",
    },
    upheld: [upheld("kubelet.service")],
    reload: true,
  },
  llamaedge: {
    files: {
      ...programs("/usr/lib/wasmedge", "libwasmedgePluginWasiNN.so"),
      ...texts("/usr/lib/wasmedge/wasm/llama-api-server.wasm", "/usr/share/llamaedge/wasmedge-version"),
    },
    reload: false,
  },
  nebula: {
    files: { ...programs("/usr/bin", "nebula", "nebula-cert"), ...texts(`${unitFolder}/nebula.service`) },
    upheld: [upheld("nebula.service")],
    reload: true,
  },
  nerdctl: {
    files: {
      ...programs("/usr/bin", "nerdctl"),
      "/usr/bin/containerd-rootless-setuptool.sh": "script",
      "/usr/bin/containerd-rootless.sh": "script",
    },
    reload: false,
  },
  nomad: {
    files: {
      ...programs("/usr/bin", "nomad"),
      ...texts(
        `${unitFolder}/nomad.service`,
        "/usr/share/nomad/nomad.hcl",
        "/usr/share/nomad/nomad.env",
        "/usr/lib/tmpfiles.d/nomad.conf",
      ),
    },
    reload: true,
  },
  "nvidia-runtime": {
    files: {
      ...programs(
        "/usr/bin",
        "nvidia-container-cli",
        "nvidia-ctk",
        "nvidia-cdi-hook",
        "nvidia-container-runtime",
        "nvidia-container-runtime-hook",
      ),
      ...programs("/usr/lib/nvidia-container", "libnvidia-container.so.1.18.1"),
      "/usr/lib/nvidia-container/libnvidia-container.so.1": "-> libnvidia-container.so.1.18.1",
      "/usr/local/nvidia": "-> /opt/nvidia",
      "/usr/local/bin/_nvidia-runtime-helper": "script",
      ...texts(
        ...[
          "containerd.service.d/10-nvidia.conf",
          "docker.service.d/10-nvidia.conf",
          "nvidia.service.d/10-persistenced.conf",
          "nvidia-cdi-refresh.service",
        ].map((name) => `${unitFolder}/${name}`),
        "/usr/share/flatcar/etc/containerd/config-nvidia.toml",
        "/usr/share/flatcar/etc/nvidia-container-runtime/config.toml",
        "/usr/lib/tmpfiles.d/nvidia-runtime.conf",
      ),
    },
    reload: true,
  },
  ollama: {
    files: {
      ...programs("/usr/local/bin", "ollama"),
      ...programs("/usr/local/lib/ollama", "libggml-base.so"),
      "/usr/local/lib/ollama/cuda_v12/libcublas.so.12": "-> libcublas.so.12.8",
      ...texts("/usr/local/lib/ollama/cuda_v12/libcublas.so.12.8", `${unitFolder}/ollama.service`),
    },
    upheld: [upheld("ollama.service")],
    reload: true,
  },
  opkssh: { files: programs("/usr/local/bin", "opkssh"), reload: false },
  rke2: {
    files: {
      ...programs("/usr/local/bin", "rke2"),
      "/usr/local/bin/rke2-killall.sh": "script",
      ...texts(
        ...["server.service", "server.env", "agent.service", "agent.env"].map((name) => `${localUnits}/rke2-${name}`),
        "/usr/local/share/rke2/LICENSE.txt",
      ),
    },
    reload: true,
  },
  scx: {
    files: {
      ...programs("/usr/bin", "scx_bpfland", "scx_lavd", "scx_rusty"),
      ...texts(`${unitFolder}/scx.service`, "/usr/share/scx/scx"),
    },
    reload: true,
    unverified: 1,
  },
  tailscale: {
    files: {
      ...programs("/usr/bin", "tailscale", "tailscaled"),
      ...texts(
        `${unitFolder}/tailscaled.service`,
        "/usr/share/tailscale/tailscaled.defaults",
        "/usr/lib/tmpfiles.d/tailscale.conf",
        "/usr/lib/systemd/network/50-tailscale.network",
      ),
    },
    upheld: [upheld("tailscaled.service")],
    reload: true,
  },
  tilde: {
    files: { "/usr/bin/tilde": "program" },
    more: /^\/usr\/lib\/((x86_64|aarch64)-linux-gnu\/(transcript1|libt3widget)|flixwrap\/tilde)\//,
    reload: false,
  },
  vault: {
    files: {
      ...programs("/usr/bin", "vault"),
      ...texts(
        `${unitFolder}/vault.service`,
        "/usr/share/vault/vault.hcl",
        "/usr/share/vault/vault.env",
        "/usr/lib/sysusers.d/vault.conf",
        "/usr/lib/tmpfiles.d/vault.conf",
      ),
    },
    upheld: [upheld("vault.service")],
    reload: true,
  },
  wasmcloud: {
    files: {
      ...programs("/usr/bin", "wasmcloud", "nats-server"),
      ...texts(`${unitFolder}/wasmcloud.service`, `${unitFolder}/nats.service`, "/usr/share/nats/nats.conf"),
    },
    upheld: [upheld("nats.service"), upheld("wasmcloud.service")],
    reload: true,
  },
  wasmedge: {
    files: {
      ...programs("/usr/lib/wasmedge-runtime/bin", "wasmedge", "wasmedgec"),
      ...programs("/usr/lib/wasmedge-runtime/lib", "libwasmedge.so.0.1.0"),
      "/usr/lib/wasmedge-runtime/lib/libwasmedge.so.0": "-> libwasmedge.so.0.1.0",
      "/usr/bin/wasmedge": "-> ../lib/wasmedge-runtime/bin/wasmedge",
      "/usr/bin/wasmedgec": "-> ../lib/wasmedge-runtime/bin/wasmedgec",
    },
    reload: false,
  },
  wasmtime: { files: programs("/usr/bin", "wasmtime"), reload: false },
};

it("has every recipe of the reference", () => {
  expect(recipeNames("recipes")).toEqual(Object.keys(expected).sort());
  expect(Object.keys(upstreams).sort()).toEqual(Object.keys(expected).sort());
});

/** What the finish adds to every extension, and to those with users or state. */
const isFinish = (path: string): boolean =>
  /^\/usr\/(lib\/extension-release\.d|share\/flixwrap)\/|-setup\.(service|conf)$/.test(path);

/** How a node looks in the table above. */
function shapeOf(tree: ExtensionTree, path: string, architecture: string): string {
  const node = tree.nodes.get(extPath(path))!;
  if (node.type === "symlink") return `-> ${node.target}`;
  if (node.type === "directory") return "directory";
  const machine = readElf(node.content.read(0, 64));
  const kind =
    machine === undefined
      ? node.mode === 0o755
        ? "script"
        : "text"
      : machine === architecture && node.mode === 0o755
        ? "program"
        : `program for ${machine}`;
  return kind === "text" && node.mode !== 0o644 ? `text with mode ${node.mode.toString(8)}` : kind;
}

describe.each(Object.entries(expected))("%s", (name, { files, more, upheld: dropIns = [], reload, unverified = 0 }) => {
  it.each(["x86-64", "arm64"])("ships what it should for %s", async (architecture) => {
    await bake(name, { architecture }, (tree, planned) => {
      const leaves = leavesOf(tree).filter((path) => path in files || !more?.test(path));
      expect(leaves.filter((path) => path.includes(".target.d/"))).toEqual([...dropIns].sort());
      const rest = leaves.filter((path) => !path.includes(".target.d/") && !isFinish(path));
      expect(Object.fromEntries(rest.map((path) => [path, shapeOf(tree, path, architecture)]))).toEqual(files);
      for (const path of dropIns) expect(textOf(tree, path)).toMatch(/^\[Unit\]\nUpholds=\S+\n$/);
      const release = textOf(tree, `/usr/lib/extension-release.d/extension-release.${name}`);
      expect(release).toBe(`ID=_any\nARCHITECTURE=${architecture}\n${reload ? "EXTENSION_RELOAD_MANAGER=1\n" : ""}`);
      expect(
        checkTree(tree)
          .filter(({ severity }) => severity === "error")
          .map((finding) => wordFinding(finding)),
      ).toEqual([]);
      expect(planned.unverified).toHaveLength(unverified);
      expect([...tree.nodes.values()].filter((node) => node.uid !== 0 || node.gid !== 0)).toEqual([]);
    });
  });
});

describe("options", () => {
  const binaries = {
    docker: ["docker", "docker-init", "docker-proxy", "dockerd"],
    containerd: ["containerd", "containerd-shim-runc-v2", "ctr", "runc"],
  };
  it.each([
    { without: "containerd", kept: "docker" },
    { without: "docker", kept: "containerd" },
  ] as const)("docker --without $without", async ({ without, kept }) => {
    await bake("docker", { options: { without } }, (tree) => {
      const leaves = leavesOf(tree);
      expect(leaves.filter((path) => path.startsWith("/usr/bin/"))).toEqual(
        binaries[kept].map((name) => `/usr/bin/${name}`),
      );
      expect(leaves.filter((path) => path.startsWith(unitFolder) && path.includes(without))).toEqual([]);
      expect(leaves.filter((path) => path.startsWith("/usr/share/containerd/"))).toHaveLength(
        without === "docker" ? 2 : 0,
      );
    });
  });

  it("nerdctl --with-cni brings plugins, a network, and the rule that copies it", async () => {
    await bake("nerdctl", { options: { "with-cni": "latest" } }, (tree) => {
      for (const name of plugins) expect(shapeOf(tree, `/usr/libexec/cni/${name}`, "x86-64")).toBe("program");
      expect(textOf(tree, "/usr/share/nerdctl/nerdctl-cni-version")).toBe("v1.7.1\n");
      // Every source that the rule copies is shipped (the reference's rule pointed at nothing).
      const sources = textOf(tree, "/usr/lib/tmpfiles.d/nerdctl.conf")
        .split("\n")
        .filter((line) => line.startsWith("C"))
        .map((line) => line.split(/\s+/).at(-1)!);
      expect(sources).toHaveLength(2);
      for (const source of sources) expect(leavesOf(tree)).toContain(source);
    });
  });

  it("kubernetes --cni-version", async () => {
    serveUpstream(mirror, {
      version: "",
      pages: {},
      files: ({ go }) => upstreams["nerdctl"]!.files({ arch: "x86-64", go, uname: "" }).slice(1),
    });
    await bake("kubernetes", { options: { "cni-version": "1.7.1" } }, (tree) => {
      expect(textOf(tree, "/usr/local/share/kubernetes-cni-version")).toBe("v1.7.1\n");
    });
  });

  it("scx --scheduler", async () => {
    await bake("scx", { options: { scheduler: "scx_lavd" } }, (tree) => {
      expect(textOf(tree, "/usr/share/scx/scx")).toContain("SCX_SCHEDULER=scx_lavd\n");
    });
  });

  it("wasmcloud from version 2 has another program and no service", async () => {
    const address = (uname: string): string =>
      `https://github.com/wasmcloud/wasmcloud/releases/download/v2.0.1/wash-${uname}-unknown-linux-musl`;
    const nats = upstreams["wasmcloud"]!.files;
    serveUpstream(mirror, {
      version: "v2.0.1",
      pages: {},
      files: (names) => [{ address: address(names.uname), github: true }, ...nats(names).slice(1)],
    });
    await bake("wasmcloud", { version: "2.0.1" }, (tree) => {
      expect(leavesOf(tree).filter((path) => /bin|service/.test(path))).toEqual([
        "/usr/bin/nats-server",
        "/usr/bin/wash",
        upheld("nats.service"),
        `${unitFolder}/nats.service`,
      ]);
    });
  });
});

it("tailscale's unit names the program where it is", async () => {
  await bake("tailscale", { version: "1.76.6" }, (tree) => {
    expect(textOf(tree, `${unitFolder}/tailscaled.service`)).toContain("ExecStart=/usr/bin/tailscaled ");
    expect(textOf(tree, `${unitFolder}/tailscaled.service`)).not.toContain("/usr/sbin");
  });
});
