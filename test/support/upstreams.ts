import { archiveTypeOf } from "../../src/recipes/archive.ts";
import type { StandInArchitecture } from "./stand-in.ts";
import { standIn } from "./stand-in.ts";
import { type ArchiveKind, buildArchive, type Members, sha256, type WebMirror } from "./web-mirror.ts";

/** What one recipe's upstream serves for one version, in the true shape: addresses, archives, checksum files. */
export interface Upstream {
  readonly version: string;
  /** Other pages: lists of versions and files with a value in them. */
  readonly pages: Readonly<Record<string, string>>;
  readonly files: (names: ArchNames) => readonly UpstreamFile[];
  /** Options the recipe must be given. */
  readonly options?: Readonly<Record<string, string>>;
  /** Roots as they are after the recipe's command has run in the image, by reference. */
  readonly images?: Readonly<Record<string, Members>>;
  /** What a command in an image prints, by reference. */
  readonly printed?: Readonly<Record<string, string>>;
}

export interface UpstreamFile {
  readonly address: string;
  /** Of an archive; a plain file is a stand-in program, or the text. */
  readonly members?: Members;
  readonly text?: string;
  /** The checksum file that vouches for it, and how a line of it looks. */
  readonly sums?: { readonly address: string; readonly line: (hex: string, name: string) => string };
  /** Vouched for by GitHub's API. */
  readonly github?: true;
}

export interface ArchNames {
  readonly arch: StandInArchitecture;
  /** amd64, arm64 */
  readonly go: string;
  /** x86_64, aarch64 */
  readonly uname: string;
}

export const archNames: readonly ArchNames[] = [
  { arch: "x86-64", go: "amd64", uname: "x86_64" },
  { arch: "arm64", go: "arm64", uname: "aarch64" },
];

/** The shapes of checksum lines. */
export const named = (hex: string, name: string): string => `${hex}  ${name}\n`;
export const starred = (hex: string, name: string): string => `${hex} *${name}\n`;
export const dotted = (hex: string, name: string): string => `${hex}  ./${name}\n`;

/** Checksum files and API answers name the files of several recipes, so a mirror's are kept together. */
const listings = new WeakMap<
  WebMirror,
  { sums: Map<string, Map<string, string>>; assets: Map<string, Map<string, string>> }
>();

/** Lets a mirror answer for an upstream, for the architectures given. */
export function serveUpstream(mirror: WebMirror, upstream: Upstream, architectures = archNames): void {
  const { sums, assets } = listings.get(mirror) ?? { sums: new Map(), assets: new Map() };
  listings.set(mirror, { sums, assets });
  const note = (map: typeof sums, address: string, name: string, line: string): void => {
    map.set(address, (map.get(address) ?? new Map<string, string>()).set(name, line));
  };
  for (const [address, text] of Object.entries(upstream.pages)) mirror.set(address, text);
  for (const names of architectures) {
    for (const file of upstream.files(names)) {
      const bytes = bodyOf(file, names.arch);
      const name = file.address.slice(file.address.lastIndexOf("/") + 1);
      mirror.set(file.address, bytes);
      if (file.sums !== undefined) note(sums, file.sums.address, name, file.sums.line(sha256(bytes), name));
      const release = /^https:\/\/github\.com\/(.+)\/releases\/download\/([^/]+)\//.exec(file.address);
      if (file.github && release !== null) {
        const api = `https://api.github.com/repos/${release[1]}/releases/tags/${release[2]}`;
        note(
          assets,
          api,
          name,
          `{"name": ${JSON.stringify(decodeURIComponent(name))}, "digest": "sha256:${sha256(bytes)}"}`,
        );
      }
    }
  }
  for (const [address, lines] of sums) mirror.set(address, [...lines.values()].join(""));
  for (const [address, list] of assets) mirror.set(address, `{"assets": [${[...list.values()].join(", ")}]}`);
}

const cached = new Map<string, Buffer>();

function bodyOf(file: UpstreamFile, arch: StandInArchitecture): Buffer {
  if (file.text !== undefined) return Buffer.from(file.text);
  if (file.members === undefined) return standIn(arch);
  const key = `${file.address} ${arch}`;
  const known = cached.get(key) ?? buildArchive(file.members, kindOf(file.address), arch);
  cached.set(key, known);
  return known;
}

function kindOf(address: string): ArchiveKind {
  const type = archiveTypeOf(address);
  if (type === "zip" || type === "deb") return type;
  return address.endsWith("xz") ? "tar.xz" : address.endsWith("zst") ? "tar.zst" : "tar.gz";
}

/** A page of GitHub's list of releases. */
export const githubReleases = (repository: string, tags: readonly string[]): Record<string, string> => ({
  [`https://api.github.com/repos/${repository}/releases?per_page=100`]: JSON.stringify(
    tags.map((tag_name) => ({ tag_name, draft: false, prerelease: /-(rc|alpha|beta)/.test(tag_name) })),
  ),
});

const programs = (names: readonly string[], folder = ""): Members =>
  Object.fromEntries(names.map((name) => [folder + name, "program" as const]));

/** A page of a GitLab project's tags. */
function gitlabTags(project: string, names: readonly string[]): Record<string, string> {
  return { [`https://${project}/repository/tags?per_page=100`]: JSON.stringify(names.map((name) => ({ name }))) };
}

/** HashiCorp's three addresses: the list by its API, the archive, the sums. */
function hashicorp(product: string, version: string): Upstream {
  const released = (name: string, more: object = {}) => ({
    version: name,
    license_class: "oss",
    is_prerelease: false,
    timestamp_created: "2025-01-01T00:00:00Z",
    ...more,
  });
  const releases = `https://releases.hashicorp.com/${product}/${version}/${product}_${version}`;
  return {
    version,
    pages: {
      [`https://api.releases.hashicorp.com/v1/releases/${product}?limit=20`]: JSON.stringify([
        released(version),
        released(`${version}+ent`, { license_class: "enterprise" }),
        released("1.9.0"),
        released("1.99.0-rc1", { is_prerelease: true }),
      ]),
    },
    files: ({ go }) => [
      {
        address: `${releases}_linux_${go}.zip`,
        members: { ...programs([product]), "LICENSE.txt": { text: "x" } },
        sums: { address: `${releases}_SHA256SUMS`, line: named },
      },
    ],
  };
}

const schedule: Readonly<Record<string, string>> = {
  "https://raw.githubusercontent.com/kubernetes/website/main/data/releases/schedule.yaml": [
    "schedules:",
    "- release: 1.32",
    "  previousPatches:",
    "  - {release: 1.32.2, cherryPickDeadline: 2025-02-07}",
    "  - {release: 1.32.10, cherryPickDeadline: 2025-02-07}",
    "- release: 1.31",
    "  previousPatches:",
    "  - {release: 1.31.6}",
    "- release: 1.30",
    "  previousPatches:",
    "  - {release: 1.30.1}",
    "",
  ].join("\n"),
};

/** By recipe. Addresses and layouts: the facts page of the recipes, stated here independently of the recipes. */
export const upstreams: Readonly<Record<string, Upstream>> = {
  bird: {
    version: "3.1.2",
    pages: gitlabTags("gitlab.nic.cz/api/v4/projects/6", ["v3.1.2", "v3.1.10", "v2.0.12", "list"]),
    files: () => [
      {
        address: "https://github.com/CZ-NIC/bird/archive/refs/tags/v3.1.2.tar.gz",
        members: { "bird-3.1.2/configure.ac": { text: "AC_INIT" } },
      },
    ],
    images: { "alpine:3.21": programs(["bird", "birdc", "birdcl"], "out/usr/bin/") },
  },
  btop: {
    version: "1.4.0",
    pages: {
      "https://dl-cdn.alpinelinux.org/alpine/v3.21/community/x86_64/":
        '<a href="btop-1.4.0-r0.apk">btop-1.4.0-r0.apk</a> <a href="btop-doc-1.4.0-r0.apk">x</a>',
    },
    files: () => [],
    images: {
      "alpine:3.21": {
        ...programs(["btop"], "usr/bin/"),
        "lib/apk/db/installed": { text: "P:musl\nV:1.2.5-r8\n\nP:btop\nV:1.4.0-r0\n\n" },
        "etc/terminfo/l/linux": { text: "x" },
      },
    },
  },
  chrony: {
    version: "4.8",
    pages: gitlabTags("gitlab.com/api/v4/projects/39973492", ["4.8", "4.8-pre1", "4.10-pre1", "4.7"]),
    files: () => [
      {
        address: "https://gitlab.com/chrony/chrony/-/archive/4.8/chrony-4.8.tar.gz",
        members: { "chrony-4.8/configure": { text: "#!/bin/sh\n", mode: 0o755 } },
      },
    ],
    images: {
      "alpine:3.21": {
        ...programs(["chronyd", "chronyc"], "out/usr/bin/"),
        "out/usr/share/man/man8/chronyd.8": { text: ".TH" },
      },
    },
  },
  cilium: {
    version: "v0.18.2",
    pages: githubReleases("cilium/cilium-cli", ["v0.18.2", "v0.16.24"]),
    files: ({ go }) => {
      const address = `https://github.com/cilium/cilium-cli/releases/download/v0.18.2/cilium-linux-${go}.tar.gz`;
      return [{ address, members: programs(["cilium"]), sums: { address: `${address}.sha256sum`, line: named } }];
    },
  },
  "cloud-hypervisor": {
    version: "v45.0",
    pages: githubReleases("cloud-hypervisor/cloud-hypervisor", ["v45.0", "v9.0", "v44.0"]),
    files: ({ arch }) =>
      ["cloud-hypervisor-static", "ch-remote-static"].map((name) => ({
        address: `https://github.com/cloud-hypervisor/cloud-hypervisor/releases/download/v45.0/${name}${arch === "arm64" ? "-aarch64" : ""}`,
        github: true as const,
      })),
  },
  coder: {
    version: "v2.20.0",
    pages: githubReleases("coder/coder", ["v2.20.0", "v2.9.3"]),
    files: ({ go }) => [
      {
        address: `https://github.com/coder/coder/releases/download/v2.20.0/coder_2.20.0_linux_${go}.tar.gz`,
        members: { ...programs(["./coder"]), "./LICENSE": { text: "x" }, "./README.md": { text: "x" } },
        sums: {
          address: "https://github.com/coder/coder/releases/download/v2.20.0/coder_2.20.0_checksums.txt",
          line: starred,
        },
      },
    ],
  },
  consul: hashicorp("consul", "1.21.4"),
  containerd: {
    version: "2.1.4",
    pages: {
      ...githubReleases("containerd/containerd", [
        "v2.1.4",
        "api/v1.9.0",
        "v2.1.0-rc.1",
        "v2.0.6",
        "v1.7.28",
        "v1.6.39",
        "v1.5.18",
        "v1.4.13",
        "v2.1.3",
      ]),
      "https://raw.githubusercontent.com/containerd/containerd/v2.1.4/script/setup/runc-version": "v1.3.0\n",
    },
    files: ({ go }) => {
      const address = `https://github.com/containerd/containerd/releases/download/v2.1.4/containerd-static-2.1.4-linux-${go}.tar.gz`;
      return [
        {
          address,
          members: programs(["containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr"], "bin/"),
          sums: { address: `${address}.sha256sum`, line: named },
        },
        {
          address: `https://github.com/opencontainers/runc/releases/download/v1.3.0/runc.${go}`,
          sums: {
            address: "https://github.com/opencontainers/runc/releases/download/v1.3.0/runc.sha256sum",
            line: named,
          },
        },
      ];
    },
  },
  crio: {
    version: "v1.33.3",
    pages: githubReleases("cri-o/cri-o", ["v1.33.3", "v1.33.2"]),
    files: ({ go }) => {
      const address = `https://storage.googleapis.com/cri-o/artifacts/cri-o.${go}.v1.33.3.tar.gz`;
      return [
        {
          address,
          members: {
            ...programs(
              ["crio", "pinns", "crictl", "conmon", "conmonrs", "crun", "runc", "crio-credential-provider"],
              "cri-o/bin/",
            ),
            ...programs(["bridge", "loopback"], "cri-o/cni-plugins/"),
            "cri-o/install": { text: "#!/bin/sh\n", mode: 0o755 },
            "cri-o/contrib/10-crio-bridge.conflist.disabled": { text: "{}" },
            "cri-o/contrib/policy.json": { text: "{}" },
            "cri-o/contrib/registries.conf": { text: "" },
            "cri-o/contrib/crio.service": {
              text: "[Unit]\nDescription=Container Runtime Interface for OCI\n[Service]\nType=notify\nExecStart=/usr/local/bin/crio\n[Install]\nWantedBy=multi-user.target\n",
            },
            "cri-o/etc/10-crio.conf": { text: "[crio.runtime]\n" },
            "cri-o/etc/crictl.yaml": { text: "runtime-endpoint: unix:///var/run/crio/crio.sock\n" },
            "cri-o/etc/crio": { text: "" },
            "cri-o/etc/crio-umount.conf": { text: "" },
            "cri-o/man/crio.8": { text: ".TH" },
            "cri-o/man/crio.conf.5": { text: ".TH" },
            "cri-o/completions/bash/crio": { text: "" },
          },
          sums: { address: `${address}.sha256sum`, line: named },
        },
      ];
    },
  },
  dataplaneapi: {
    version: "v3.1.1",
    pages: githubReleases("haproxytech/dataplaneapi", ["v3.1.1", "v3.0.4"]),
    files: ({ arch }) => [
      {
        address: `https://github.com/haproxytech/dataplaneapi/releases/download/v3.1.1/dataplaneapi_3.1.1_linux_${arch === "arm64" ? "arm64" : "x86_64"}.tar.gz`,
        members: { ...programs(["dataplaneapi"]), LICENSE: { text: "x" } },
        sums: {
          address: "https://github.com/haproxytech/dataplaneapi/releases/download/v3.1.1/checksums.txt",
          line: named,
        },
      },
    ],
  },
  docker: {
    version: "24.0.9",
    pages: {
      "https://download.docker.com/linux/static/stable/x86_64/":
        '<a href="docker-24.0.9.tgz">docker-24.0.9.tgz</a>\n<a href="docker-9.0.0.tgz">x</a> <a href="docker-27.1.2.tgz">x</a> <a href="docker-rootless-extras-27.1.2.tgz">x</a>',
    },
    files: ({ uname }) => [
      {
        address: `https://download.docker.com/linux/static/stable/${uname}/docker-24.0.9.tgz`,
        members: programs(
          ["docker", "dockerd", "docker-init", "docker-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "runc"],
          "docker/",
        ),
      },
    ],
  },
  "docker-buildx": {
    version: "0.25.0",
    pages: githubReleases("docker/buildx", ["v0.25.0", "v0.9.1"]),
    files: ({ go }) => [
      {
        address: `https://github.com/docker/buildx/releases/download/v0.25.0/buildx-v0.25.0.linux-${go}`,
        sums: { address: "https://github.com/docker/buildx/releases/download/v0.25.0/checksums.txt", line: starred },
      },
    ],
  },
  "docker-compose": {
    version: "2.24.5",
    pages: githubReleases("docker/compose", ["v2.24.5", "v2.22.0"]),
    files: ({ uname }) => [
      {
        address: `https://github.com/docker/compose/releases/download/v2.24.5/docker-compose-linux-${uname}`,
        sums: { address: "https://github.com/docker/compose/releases/download/v2.24.5/checksums.txt", line: starred },
      },
    ],
  },
  falco: {
    version: "0.39.1",
    pages: githubReleases("falcosecurity/falco", ["0.39.1", "0.40.0-rc1", "v0.5.0", "0.9.0"]),
    files: ({ uname }) => {
      const top = `falco-0.39.1-${uname}/`;
      return [
        {
          address: `https://download.falco.org/packages/bin/${uname}/falco-0.39.1-${uname}.tar.gz`,
          members: {
            ...programs(["falco", "falcoctl"], `${top}usr/bin/`),
            [`${top}usr/share/falco/plugins/x`]: { text: "x" },
            [`${top}etc/falco/falco.yaml`]: { text: "{}" },
            [`${top}etc/falcoctl/falcoctl.yaml`]: { text: "{}" },
          },
        },
      ];
    },
  },
  haproxy: {
    version: "3.2.4",
    pages: {
      "https://www.haproxy.org/download/":
        '<a href="2.8/">2.8/</a> <a href="3.0/">x</a> <a href="3.2/">x</a> <a href="3.10/">x</a>',
      "https://www.haproxy.org/download/3.0/src/releases.json": '{"branch":"3.0","releases":{"3.0.11":{},"3.0.9":{}}}',
      "https://www.haproxy.org/download/3.2/src/releases.json":
        '{"branch":"3.2","releases":{"3.2.4":{},"3.2-dev5":{},"3.2.0":{}}}',
    },
    files: () => {
      const address = "https://www.haproxy.org/download/3.2/src/haproxy-3.2.4.tar.gz";
      return [
        {
          address,
          members: { "haproxy-3.2.4/Makefile": { text: "all:\n" } },
          sums: { address: `${address}.sha256`, line: named },
        },
      ];
    },
    images: { "alpine:3.21": programs(["haproxy"], "out/") },
  },
  ig: {
    version: "v0.38.1",
    pages: githubReleases("inspektor-gadget/inspektor-gadget", ["v0.38.1", "v0.9.0"]),
    files: ({ go }) =>
      ["ig", "gadgetctl"].map((name) => ({
        address: `https://github.com/inspektor-gadget/inspektor-gadget/releases/download/v0.38.1/${name}-linux-${go}-v0.38.1.tar.gz`,
        members: { ...programs([name]), LICENSE: { text: "x" } },
        github: true as const,
      })),
  },
  k3s: {
    version: "v1.32.2+k3s1",
    pages: {
      ...githubReleases("k3s-io/k3s", [
        "v1.32.2+k3s1",
        "v1.32.10+k3s1",
        "v1.32.10+k3s2",
        "v1.33.0-rc1+k3s1",
        "v1.31.6+k3s1",
        "v1.30.1+k3s1",
        "v1.20.1+k3s1",
      ]),
      ...schedule,
    },
    files: ({ arch, go }) => [
      {
        address: `https://github.com/k3s-io/k3s/releases/download/v1.32.2+k3s1/k3s${arch === "arm64" ? "-arm64" : ""}`,
        sums: {
          address: `https://github.com/k3s-io/k3s/releases/download/v1.32.2+k3s1/sha256sum-${go}.txt`,
          line: named,
        },
      },
    ],
  },
  "kata-containers": {
    version: "3.21.0",
    pages: githubReleases("kata-containers/kata-containers", ["3.21.0", "3.20.0", "3.9.0"]),
    files: ({ go }) => [
      {
        address: `https://github.com/kata-containers/kata-containers/releases/download/3.21.0/kata-static-3.21.0-${go}.tar.zst`,
        members: {
          ...programs(["kata-runtime", "containerd-shim-kata-v2"], "./opt/kata/bin/"),
          "./opt/kata/bin/kata-collect-data.sh": { text: "#!/bin/sh\n", mode: 0o755 },
          "./opt/kata/share/kata-containers/vmlinux.container": { link: "vmlinux-6.12" },
          "./opt/kata/share/kata-containers/vmlinux-6.12": { text: "x" },
        },
        github: true,
      },
    ],
  },
  keepalived: {
    version: "v2.3.1",
    pages: {
      "https://api.github.com/repos/acassen/keepalived/tags?per_page=100": JSON.stringify(
        ["v2.3.1", "v2.3.4", "v0.2.7", "v1.0.0-rc1"].map((name) => ({ name })),
      ),
    },
    files: () => [
      {
        address: "https://github.com/acassen/keepalived/archive/refs/tags/v2.3.1.tar.gz",
        members: { "keepalived-2.3.1/autogen.sh": { text: "#!/bin/sh\n", mode: 0o755 } },
      },
    ],
    images: { "alpine:3.21": programs(["keepalived"], "out/usr/bin/") },
  },
  kubernetes: {
    version: "v1.32.2",
    pages: schedule,
    files: ({ go }) => [
      ...["kubectl", "kubeadm", "kubelet"].map((name) => {
        const address = `https://dl.k8s.io/v1.32.2/bin/linux/${go}/${name}`;
        return { address, sums: { address: `${address}.sha256`, line: (hex: string) => hex } };
      }),
      cniPlugins(go, "v1.6.2"),
    ],
  },
  llamaedge: {
    version: "0.16.5",
    options: { "wasmedge-version": "0.14.1" },
    pages: {
      ...githubReleases("LlamaEdge/LlamaEdge", ["0.16.5", "0.9.0"]),
      ...githubReleases("WasmEdge/WasmEdge", ["0.14.1"]),
    },
    files: ({ uname }) => [
      {
        address: `https://github.com/WasmEdge/WasmEdge/releases/download/0.14.1/WasmEdge-plugin-wasi_nn-ggml-0.14.1-ubuntu20.04_${uname}.tar.gz`,
        members: programs(["./libwasmedgePluginWasiNN.so"]),
        sums: { address: "https://github.com/WasmEdge/WasmEdge/releases/download/0.14.1/SHA256SUM", line: named },
      },
      {
        address: "https://github.com/LlamaEdge/LlamaEdge/releases/download/0.16.5/llama-api-server.wasm",
        text: "\0asm",
        github: true,
      },
    ],
  },
  nebula: {
    version: "v1.9.5",
    pages: githubReleases("slackhq/nebula", ["v1.9.5", "v1.10.0"]),
    files: ({ go }) => [
      {
        address: `https://github.com/slackhq/nebula/releases/download/v1.9.5/nebula-linux-${go}.tar.gz`,
        members: programs(["nebula", "nebula-cert"]),
        sums: { address: "https://github.com/slackhq/nebula/releases/download/v1.9.5/SHASUM256.txt", line: named },
      },
    ],
  },
  nerdctl: {
    version: "v2.1.2",
    pages: {
      ...githubReleases("containerd/nerdctl", ["v2.1.2", "v2.0.0"]),
      ...githubReleases("containernetworking/plugins", ["v1.6.2", "v1.7.1"]),
    },
    files: ({ go }) => [
      {
        address: `https://github.com/containerd/nerdctl/releases/download/v2.1.2/nerdctl-2.1.2-linux-${go}.tar.gz`,
        members: {
          ...programs(["nerdctl"]),
          "containerd-rootless-setuptool.sh": { text: "#!/bin/sh\n", mode: 0o755 },
          "containerd-rootless.sh": { text: "#!/bin/sh\n", mode: 0o755 },
        },
        sums: { address: "https://github.com/containerd/nerdctl/releases/download/v2.1.2/SHA256SUMS", line: named },
      },
      cniPlugins(go, "v1.7.1"),
    ],
  },
  nomad: hashicorp("nomad", "1.10.0"),
  "nvidia-runtime": {
    version: "v1.18.1",
    pages: githubReleases("NVIDIA/nvidia-container-toolkit", ["v1.18.1", "v1.18.0-rc.1", "v1.9.0"]),
    files: ({ go, uname }) => {
      const folder = `release-v1.18.1-stable/packages/ubuntu18.04/${go}`;
      const debs: Readonly<Record<string, Members>> = {
        "libnvidia-container1": {
          [`./usr/lib/${uname}-linux-gnu/libnvidia-container.so.1.18.1`]: "program",
          [`./usr/lib/${uname}-linux-gnu/libnvidia-container.so.1`]: { link: "libnvidia-container.so.1.18.1" },
        },
        "libnvidia-container-tools": programs(["./usr/bin/nvidia-container-cli"]),
        "nvidia-container-toolkit-base": {
          ...programs(["nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook"], "./usr/bin/"),
          "./etc/systemd/system/nvidia-cdi-refresh.service": {
            text: "[Service]\nType=oneshot\nExecStart=/usr/bin/nvidia-ctk cdi generate\n",
          },
        },
        "nvidia-container-toolkit": programs(["./usr/bin/nvidia-container-runtime-hook"]),
        "libnvidia-container-dev": { "./usr/include/nvc.h": { text: "x" } },
      };
      return [
        {
          address: `https://github.com/NVIDIA/nvidia-container-toolkit/releases/download/v1.18.1/nvidia-container-toolkit_1.18.1_deb_${go}.tar.gz`,
          members: Object.fromEntries(
            Object.entries(debs).map(([name, archive]) => [
              `${folder}/${name}_1.18.1-1_${go}.deb`,
              { archive, type: "deb" as const },
            ]),
          ),
          github: true,
        },
      ];
    },
  },
  ollama: {
    version: "v0.14.1",
    pages: githubReleases("ollama/ollama", ["v0.14.1", "v0.9.6"]),
    files: ({ go }) => [
      {
        address: `https://github.com/ollama/ollama/releases/download/v0.14.1/ollama-linux-${go}.tar.zst`,
        members: {
          ...programs(["./bin/ollama"]),
          "./lib/ollama/libggml-base.so": "program",
          "./lib/ollama/cuda_v12/libcublas.so.12": { link: "libcublas.so.12.8" },
          "./lib/ollama/cuda_v12/libcublas.so.12.8": { text: "x" },
        },
        sums: { address: "https://github.com/ollama/ollama/releases/download/v0.14.1/sha256sum.txt", line: dotted },
      },
    ],
  },
  opkssh: {
    version: "v0.8.0",
    pages: githubReleases("openpubkey/opkssh", ["v0.8.0", "v0.10.0"]),
    files: ({ go }) => [
      { address: `https://github.com/openpubkey/opkssh/releases/download/v0.8.0/opkssh-linux-${go}`, github: true },
    ],
  },
  rke2: {
    version: "v1.32.2+rke2r1",
    pages: { ...githubReleases("rancher/rke2", ["v1.32.2+rke2r1", "v1.31.6+rke2r10", "v1.31.6+rke2r9"]), ...schedule },
    files: ({ go }) => [
      {
        address: `https://github.com/rancher/rke2/releases/download/v1.32.2+rke2r1/rke2.linux-${go}.tar.gz`,
        members: {
          ...programs(["./bin/rke2"]),
          "./bin/rke2-killall.sh": { text: "#!/bin/sh\n", mode: 0o755 },
          "./bin/rke2-uninstall.sh": { text: "#!/bin/sh\n", mode: 0o755 },
          ...Object.fromEntries(
            ["server", "agent"].flatMap((kind) => [
              [
                `./lib/systemd/system/rke2-${kind}.service`,
                {
                  text: `[Unit]\nDescription=rke2 ${kind}\n[Service]\nType=notify\nEnvironmentFile=-/usr/local/lib/systemd/system/%N.env\nExecStart=/usr/local/bin/rke2 ${kind}\n[Install]\nWantedBy=multi-user.target\n`,
                },
              ],
              [`./lib/systemd/system/rke2-${kind}.env`, { text: "HOME=/root\n" }],
            ]),
          ),
          "./share/rke2/LICENSE.txt": { text: "x" },
        },
        sums: {
          address: `https://github.com/rancher/rke2/releases/download/v1.32.2+rke2r1/sha256sum-${go}.txt`,
          line: named,
        },
      },
    ],
  },
  scx: {
    version: "v1.1.1",
    pages: githubReleases("sched-ext/scx", ["v1.1.1", "v1.0.9"]),
    files: () => [
      {
        address: "https://github.com/sched-ext/scx/archive/refs/tags/v1.1.1.tar.gz",
        members: { "scx-1.1.1/Cargo.toml": { text: "" } },
      },
    ],
    images: { "alpine:3.23": programs(["scx_bpfland", "scx_lavd", "scx_rusty"], "out/") },
  },
  tailscale: {
    version: "v1.76.6",
    pages: githubReleases("tailscale/tailscale", ["v1.76.6", "v1.80.0-rc1", "v1.9.9"]),
    files: ({ go }) => {
      const address = `https://pkgs.tailscale.com/stable/tailscale_1.76.6_${go}.tgz`;
      const top = `tailscale_1.76.6_${go}/`;
      return [
        {
          address,
          members: {
            ...programs(["tailscale", "tailscaled"], top),
            [`${top}systemd/tailscaled.service`]: {
              text: "[Unit]\nDescription=Tailscale node agent\n[Service]\nEnvironmentFile=/etc/default/tailscaled\nExecStart=/usr/sbin/tailscaled --port=${PORT} $FLAGS\nExecStopPost=/usr/sbin/tailscaled --cleanup\nType=notify\n[Install]\nWantedBy=multi-user.target\n",
            },
            [`${top}systemd/tailscaled.defaults`]: { text: 'PORT="41641"\nFLAGS=""\n' },
          },
          sums: { address: `${address}.sha256`, line: (hex: string) => hex },
        },
      ];
    },
  },
  tilde: {
    version: "1.1.3",
    pages: {},
    files: () => [],
    printed: {
      "debian:bookworm-slim":
        " tilde | 1.1.3-2+b1 | mirror bookworm/main amd64 Packages\n tilde | 1.1.2-1 | mirror bullseye/main\n",
    },
    images: {
      "debian:bookworm-slim": {
        ...programs(["usr/bin/tilde"]),
        "usr/lib/x86_64-linux-gnu/transcript1/utf-8.so": { text: "x" },
        "usr/lib/x86_64-linux-gnu/libt3widget/x.so": { text: "x" },
        "usr/lib/aarch64-linux-gnu/transcript1/utf-8.so": { text: "x" },
        "usr/lib/aarch64-linux-gnu/libt3widget/x.so": { text: "x" },
        "var/lib/dpkg/status": {
          text: "Package: bash\nVersion: 5.2.15-2\n\nPackage: tilde\nStatus: install ok installed\nVersion: 1.1.3-2+b1\n\n",
        },
      },
    },
  },
  vault: hashicorp("vault", "1.20.0"),
  wasmcloud: {
    version: "v1.2.1",
    pages: {
      ...githubReleases("wasmcloud/wasmcloud", ["v1.2.1", "wash-cli-v0.40.0", "v1.10.0", "v2.0.0-rc.1"]),
      ...githubReleases("nats-io/nats-server", ["v2.11.4"]),
    },
    files: ({ go, uname }) => [
      {
        address: `https://github.com/wasmcloud/wasmcloud/releases/download/v1.2.1/wasmcloud-${uname}-unknown-linux-musl`,
        github: true,
      },
      {
        address: `https://github.com/nats-io/nats-server/releases/download/v2.11.4/nats-server-v2.11.4-linux-${go}.tar.gz`,
        members: programs(["nats-server"], `nats-server-v2.11.4-linux-${go}/`),
        sums: { address: "https://github.com/nats-io/nats-server/releases/download/v2.11.4/SHA256SUMS", line: named },
      },
    ],
  },
  wasmedge: {
    version: "0.14.1",
    pages: githubReleases("WasmEdge/WasmEdge", ["0.14.1", "0.13.5"]),
    files: ({ uname }) => [
      {
        address: `https://github.com/WasmEdge/WasmEdge/releases/download/0.14.1/WasmEdge-0.14.1-ubuntu20.04_${uname}.tar.gz`,
        members: {
          ...programs(["wasmedge", "wasmedgec"], "WasmEdge-0.14.1-Linux/bin/"),
          "WasmEdge-0.14.1-Linux/lib/libwasmedge.so.0.1.0": "program",
          "WasmEdge-0.14.1-Linux/lib/libwasmedge.so.0": { link: "libwasmedge.so.0.1.0" },
          "WasmEdge-0.14.1-Linux/include/wasmedge/wasmedge.h": { text: "x" },
        },
        sums: { address: "https://github.com/WasmEdge/WasmEdge/releases/download/0.14.1/SHA256SUM", line: named },
      },
    ],
  },
  wasmtime: {
    version: "v24.0.0",
    pages: githubReleases("bytecodealliance/wasmtime", ["v24.0.0", "dev", "v9.0.4"]),
    files: ({ uname }) => [
      {
        address: `https://github.com/bytecodealliance/wasmtime/releases/download/v24.0.0/wasmtime-v24.0.0-${uname}-linux.tar.xz`,
        members: {
          ...programs(["wasmtime"], `wasmtime-v24.0.0-${uname}-linux/`),
          [`wasmtime-v24.0.0-${uname}-linux/LICENSE`]: { text: "x" },
        },
        github: true,
      },
    ],
  },
};

function cniPlugins(go: string, version: string): UpstreamFile {
  const address = `https://github.com/containernetworking/plugins/releases/download/${version}/cni-plugins-linux-${go}-${version}.tgz`;
  return {
    address,
    members: {
      ...programs(["bridge", "host-local", "loopback", "portmap", "firewall", "tuning"], "./"),
      "./LICENSE": { text: "x" },
      "./README.md": { text: "x" },
    },
    sums: { address: `${address}.sha256`, line: named },
  };
}
