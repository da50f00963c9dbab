import { archiveTypeOf } from "../../src/recipes/normalise.ts";
import type { StandInArchitecture } from "./stand-in.ts";
import { standIn } from "./stand-in.ts";
import { type ArchiveKind, buildArchive, type Members, sha256, type WebMirror } from "./web-mirror.ts";

/** What one recipe's upstream serves for one version, in the true shape: addresses, archives, checksum files. */
export interface Upstream {
  readonly version: string;
  /** Other pages: lists of versions and files with a value in them. */
  readonly pages: Readonly<Record<string, string>>;
  readonly files: (names: ArchNames) => readonly UpstreamFile[];
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
export const bare = (hex: string): string => `${hex}\n`;
export const dotted = (hex: string, name: string): string => `${hex}  ./${name}\n`;

/** Lets a mirror answer for an upstream, for the architectures given. */
export function serveUpstream(mirror: WebMirror, upstream: Upstream, architectures = archNames): void {
  for (const [address, text] of Object.entries(upstream.pages)) mirror.set(address, text);
  const sums = new Map<string, string>();
  const assets = new Map<string, { name: string; digest: string }[]>();
  for (const names of architectures) {
    for (const file of upstream.files(names)) {
      const bytes = bodyOf(file, names.arch);
      const name = file.address.slice(file.address.lastIndexOf("/") + 1);
      mirror.set(file.address, bytes);
      if (file.sums !== undefined)
        sums.set(file.sums.address, (sums.get(file.sums.address) ?? "") + file.sums.line(sha256(bytes), name));
      const release = /^https:\/\/github\.com\/(.+)\/releases\/download\/([^/]+)\//.exec(file.address);
      if (file.github && release !== null) {
        const api = `https://api.github.com/repos/${release[1]}/releases/tags/${release[2]}`;
        assets.set(api, [
          ...(assets.get(api) ?? []),
          { name: decodeURIComponent(name), digest: `sha256:${sha256(bytes)}` },
        ]);
      }
    }
  }
  for (const [address, text] of sums) mirror.set(address, text);
  for (const [address, list] of assets) mirror.set(address, JSON.stringify({ assets: list }));
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

/** By recipe. Addresses and layouts: the facts page of the recipes, stated here independently of the recipes. */
export const upstreams: Readonly<Record<string, Upstream>> = {
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
  kubernetes: {
    version: "v1.32.2",
    pages: {
      "https://raw.githubusercontent.com/kubernetes/website/main/data/releases/schedule.yaml": [
        "schedules:",
        "- release: 1.32",
        "  previousPatches:",
        "  - {release: 1.32.2, cherryPickDeadline: 2025-02-07}",
        "  - {release: 1.32.10, cherryPickDeadline: 2025-02-07}",
        "- release: 1.31",
        "  previousPatches:",
        "  - {release: 1.31.6}",
        "",
      ].join("\n"),
    },
    files: ({ go }) => [
      ...["kubectl", "kubeadm", "kubelet"].map((name) => {
        const address = `https://dl.k8s.io/v1.32.2/bin/linux/${go}/${name}`;
        return { address, sums: { address: `${address}.sha256`, line: (hex: string) => hex } };
      }),
      cniPlugins(go, "v1.6.2"),
    ],
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
