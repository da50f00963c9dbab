import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A file's text, a link's target (`-> …`), or a program to be copied from this machine. */
export type TorcxFiles = Readonly<Record<string, string | { readonly program: string }>>;

const units = "lib/systemd/system";
const manifestOf = (bin: readonly string[], unitNames: readonly string[], kind = "image-manifest-v0"): string =>
  JSON.stringify({
    kind,
    value: { bin: bin.map((name) => `/bin/${name}`), units: unitNames.map((name) => `/${units}/${name}`) },
  });

const socket = `[Unit]
Description=Docker Socket for the API
PartOf=docker.service

[Socket]
ListenStream=/run/docker.sock
SocketMode=0660

[Install]
WantedBy=sockets.target
`;

/** Facts of Flatcar's unit: the order of settings, the wait for torcx.target, the program behind env(1). */
const docker = (containerd: string): string => `[Unit]
Requires=torcx.target
After=torcx.target
Description=Docker Application Container Engine
After=containerd.service docker.socket network-online.target
Wants=network-online.target
Requires=containerd.service docker.socket

[Service]
EnvironmentFile=/run/metadata/torcx
Environment=TORCX_IMAGEDIR=/docker
Type=notify
EnvironmentFile=-/run/flannel/flannel_docker_opts.env

# comment that stays, torcx.target included
ExecStart=/usr/bin/env PATH=\${TORCX_BINDIR}:\${PATH} \${TORCX_BINDIR}/dockerd --host=fd:// \\
  --containerd=${containerd} $DOCKER_OPTS $DOCKER_CGROUPS \\
  $DOCKER_OPT_BIP
ExecReload=/bin/kill -s HUP $MAINPID
LimitNOFILE=1048576
TasksMax=infinity
TimeoutStartSec=0
Delegate=yes
KillMode=process
Restart=on-failure

[Install]
WantedBy=multi-user.target
`;

const containerd = (command: string): string => `[Unit]
Description=containerd container runtime
After=network.target torcx.target
Requires=torcx.target

[Service]
EnvironmentFile=-/run/metadata/torcx
Environment=TORCX_IMAGEDIR=/docker
Environment=CONTAINERD_CONFIG=/run/torcx/unpack/docker/usr/share/containerd/config.toml
Delegate=yes
KillMode=process
Restart=always
ExecStart=/usr/bin/env PATH=\${TORCX_BINDIR}:\${PATH} \${TORCX_BINDIR}/${command}

[Install]
WantedBy=multi-user.target
`;

const program = { program: "static" };
const programs = (names: readonly string[]): TorcxFiles =>
  Object.fromEntries(names.map((name) => [`bin/${name}`, program]));
const unitNames = ["containerd.service", "docker.service", "docker.socket", "sockets.target.wants"];

const bin18 =
  "docker docker-containerd docker-containerd-ctr docker-containerd-shim docker-init docker-proxy docker-runc dockerd".split(
    " ",
  );
const bin19 = "containerd containerd-shim ctr docker docker-init docker-proxy dockerd runc tini".split(" ");
const bin20 = [...bin19, "containerd-shim-runc-v1", "containerd-shim-runc-v2"];
const config = "version = 2\n[plugins]\n";

/** Layouts of Flatcar's docker images for Torcx by version; 20.10 also with fewer parts. */
export const torcxLayouts: Readonly<Record<string, TorcxFiles>> = {
  "docker:18.06": {
    ".torcx/manifest.json": manifestOf(bin18, unitNames),
    ...programs(bin18),
    [`${units}/containerd.service`]: containerd(
      "docker-containerd --config ${TORCX_UNPACKDIR}${TORCX_IMAGEDIR}/usr/share/containerd/config.toml",
    ),
    [`${units}/docker.service`]: docker("/var/run/docker/libcontainerd/docker-containerd.sock"),
    [`${units}/docker.socket`]: socket,
    [`${units}/sockets.target.wants/docker.socket`]: "-> ../docker.socket",
    "usr/share/containerd/config.toml": config,
  },
  "docker:19.03": {
    ".torcx/manifest.json": manifestOf(bin19, unitNames),
    ...programs(bin19),
    [`${units}/containerd.service`]: containerd("containerd --config ${CONTAINERD_CONFIG}"),
    [`${units}/docker.service`]: docker("/var/run/docker/libcontainerd/docker-containerd.sock"),
    [`${units}/docker.socket`]: socket,
    [`${units}/sockets.target.wants/docker.socket`]: "-> ../docker.socket",
    "usr/share/containerd/config.toml": config,
  },
  "docker:com.coreos.cl": {
    ".torcx/manifest.json": manifestOf(bin20, [...unitNames, "multi-user.target.wants"], "image-manifest-v1"),
    ...programs(bin20),
    [`${units}/containerd.service`]: containerd("containerd --config ${CONTAINERD_CONFIG}"),
    [`${units}/docker.service`]: docker("/run/containerd/containerd.sock"),
    [`${units}/docker.socket`]: socket,
    [`${units}/sockets.target.wants/docker.socket`]: "-> ../docker.socket",
    [`${units}/multi-user.target.wants/containerd.service`]: "-> ../containerd.service",
    "usr/share/containerd/config.toml": config,
    "usr/share/bash-completion/completions/docker": "# completion\n",
  },
  // Without docker and without a manifest: what people built for Kubernetes.
  "containerd:reduced": {
    "bin/containerd": program,
    "bin/containerd-shim-runc-v2": program,
    "sbin/runc": program,
    [`${units}/containerd.service`]: containerd("containerd --config ${CONTAINERD_CONFIG}"),
    [`${units}/multi-user.target.wants/containerd.service`]: "-> ../containerd.service",
    "usr/share/containerd/config.toml": config,
  },
};

/** How an archive of a folder is made; the name's end after `NAME:TAG.torcx`. */
export const torcxArchives: Readonly<Record<string, (folder: string, output: string) => void>> = {
  tgz: (folder, output) => tar(folder, output, "-z"),
  tar: (folder, output) => tar(folder, output),
  "tar.xz": (folder, output) => tar(folder, output, "-J"),
  "tar.zst": (folder, output) => tar(folder, output, "--zstd"),
  squashfs: (folder, output) =>
    void execFileSync("mksquashfs", [folder, output, "-noappend", "-quiet", "-all-root"], { stdio: "ignore" }),
};

function tar(folder: string, output: string, ...compression: readonly string[]): void {
  execFileSync("tar", ["--force-local", "-C", folder, "-c", ...compression, "-f", output, "."]);
}

/** Writes a layout as a folder; `paths` gives the programs' files on this machine. */
export function writeLayout(folder: string, files: TorcxFiles, paths: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    if (typeof content !== "string")
      execFileSync("cp", ["--dereference", paths[content.program] ?? content.program, path]);
    else if (content.startsWith("-> ")) symlinkSync(content.slice(3), path);
    else writeFileSync(path, content);
  }
}

/** A static program of some KiB, compiled. */
export function compileStatic(output: string): void {
  const folder = mkdtempSync(join(tmpdir(), "torcx-source-"));
  try {
    writeFileSync(join(folder, "x.c"), "void _start(void) { for (;;) ; }\n");
    execFileSync("gcc", ["-static", "-nostdlib", "-o", output, join(folder, "x.c")]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
