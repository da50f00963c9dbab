import { describe, expect, test } from "vitest";
import type { Plan } from "../../../../src/extension/plan.ts";
import { buildTree } from "../../../../src/extension/tree.ts";
import { type MemoryEntry, memoryRootfs } from "../../../../src/oci/memory-rootfs.ts";
import { planTorcx } from "../../../../src/wrap/torcx.ts";

const manifest = (value: object, kind = "image-manifest-v0"): string => JSON.stringify({ kind, value });
const plan = (entries: Record<string, MemoryEntry>, image?: string) =>
  planTorcx(memoryRootfs(entries, "x.torcx.tgz"), { name: "x", ...(image === undefined ? {} : { image }) });

/** `PATH`, `PATH -> TARGET` of every node that is no folder. */
function list(made: Plan): string[] {
  return [...buildTree(made, { name: "x" }).nodes]
    .filter(([, node]) => node.type !== "directory")
    .map(([path, node]) => (node.type === "symlink" ? `${path} -> ${node.target}` : path));
}

function read(made: Plan, path: string): string {
  const node = [...buildTree(made, { name: "x" }).nodes].find(([at]) => at === path)?.[1];
  if (node?.type !== "file") throw new Error(`no file ${path}`);
  return Buffer.from(node.content.read(0, node.content.size)).toString();
}

const units = "/lib/systemd/system";
/** The layout of Flatcar's docker image for Torcx, with one-line programs. */
const docker: Record<string, MemoryEntry> = {
  "/.torcx/manifest.json": manifest({
    bin: ["/bin/containerd", "/bin/dockerd", "/bin/docker", "/sbin/runc"],
    units: [
      `${units}/containerd.service`,
      `${units}/docker.service`,
      `${units}/docker.socket`,
      `${units}/sockets.target.wants`,
      `${units}/multi-user.target.wants`,
    ],
    network: ["/lib/systemd/network/50-docker.network"],
    sysusers: ["/lib/sysusers.d/docker.conf"],
    tmpfiles: null,
  }),
  "/bin/containerd": { content: "c", mode: 0o755 },
  "/bin/dockerd": { content: "d", mode: 0o755 },
  "/bin/docker": { content: "cli", mode: 0o755 },
  "/bin/docker-runc": { target: "../sbin/runc" },
  "/sbin/runc": { content: "r", mode: 0o755 },
  [`${units}/containerd.service`]:
    "[Unit]\nAfter=torcx.target\nRequires=torcx.target\n[Service]\nEnvironmentFile=/run/metadata/torcx\nEnvironment=TORCX_IMAGEDIR=/docker\nExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/containerd --config ${TORCX_UNPACKDIR}${TORCX_IMAGEDIR}/usr/share/containerd/config.toml\n",
  [`${units}/docker.service`]:
    "[Unit]\nRequires=containerd.service docker.socket torcx.target\n[Service]\nEnvironmentFile=-/run/metadata/torcx\nExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/dockerd\n",
  [`${units}/docker.socket`]: "[Socket]\nListenStream=/run/docker.sock\n",
  [`${units}/docker.service.d/10-more.conf`]: "[Unit]\nAfter=torcx.target\n",
  [`${units}/sockets.target.wants/docker.socket`]: { target: "../docker.socket" },
  [`${units}/multi-user.target.wants/containerd.service`]: { target: "../containerd.service" },
  "/lib/systemd/network/50-docker.network": "[Match]\nName=docker*\n",
  "/lib/sysusers.d/docker.conf": "g docker -\n",
  "/lib/tmpfiles.d/other.conf": "d /run/x\n",
  "/usr/share/containerd/config.toml": "root = '/var/lib/containerd'\n",
  "/etc/docker/daemon.json": "{}",
};

const enables = (unit: string, target: string): string => `/usr/lib/systemd/system/${target}.d/10-${unit}.conf`;

describe("a Torcx image becomes an extension", () => {
  test("the layout of Flatcar's docker image (E01-E03)", () => {
    const made = plan(docker);
    expect(list(made)).toEqual([
      "/usr/bin/containerd",
      "/usr/bin/docker",
      "/usr/bin/docker-runc -> runc",
      "/usr/bin/dockerd",
      "/usr/bin/runc",
      "/usr/lib/systemd/network/50-docker.network",
      "/usr/lib/systemd/system/containerd.service",
      "/usr/lib/systemd/system/docker.service",
      "/usr/lib/systemd/system/docker.socket",
      enables("containerd.service", "multi-user.target"),
      enables("docker.socket", "sockets.target"),
      "/usr/lib/sysusers.d/docker.conf",
      "/usr/share/containerd/config.toml",
    ]);
    expect(read(made, "/usr/lib/systemd/system/containerd.service")).toBe(
      "[Unit]\n[Service]\nExecStart=/usr/bin/env PATH=/usr/bin:${PATH} /usr/bin/containerd --config /usr/share/containerd/config.toml\n",
    );
    expect(read(made, "/usr/lib/systemd/system/docker.service")).toBe(
      "[Unit]\nRequires=containerd.service docker.socket\n[Service]\nExecStart=/usr/bin/env PATH=/usr/bin:${PATH} /usr/bin/dockerd\n",
    );
    expect(read(made, enables("docker.socket", "sockets.target"))).toBe("[Unit]\nUpholds=docker.socket\n");
    expect(made.enabled).toEqual(["containerd.service", "docker.socket"]);
    expect(made.replaces).toEqual(["docker-flatcar", "containerd-flatcar"]);
    expect(made.warnings).toEqual([
      `left out, as the manifest does not give them to the host: ${units}/docker.service.d/10-more.conf, /lib/tmpfiles.d/other.conf`,
      "1 file of /etc left out: an extension holds /usr and /opt alone; --etc PATH ships configuration",
    ]);
  });

  test("without a manifest the known folders move, drop-ins too", () => {
    const { "/.torcx/manifest.json": _, ...rest } = docker;
    const made = plan(rest);
    expect(list(made)).toContain("/usr/lib/tmpfiles.d/other.conf");
    expect(read(made, "/usr/lib/systemd/system/docker.service.d/10-more.conf")).toBe("[Unit]\n");
  });

  test("without links nothing is enabled, and nothing is called * (Z02)", () => {
    const made = plan({ "/bin/x": "x", "/lib/systemd/system/x.service": "[Service]\nExecStart=/bin/x\n" });
    expect(list(made)).toEqual(["/usr/bin/x", "/usr/lib/systemd/system/x.service"]);
    expect(made.enabled).toEqual([]);
    expect(made.replaces).toEqual([]);
  });

  test.each([
    ["multi-user.target.wants/a.service", "multi-user.target", "a.service"],
    ["multi-user.target.requires/a.timer", "multi-user.target", "a.timer"],
    ["docker.service.wants/a.mount", "docker.service", "a.mount"],
    ["timers.target.wants/a@1.timer", "timers.target", "a@1.timer"],
    ["torcx.target.wants/a.path", "multi-user.target", "a.path"],
  ])("the link %s (E03)", (path, target, unit) => {
    const made = plan({ "/bin/x": "x", [`/usr/lib/systemd/system/${path}`]: { target: "../a.service" } });
    expect(list(made)).toEqual(["/usr/bin/x", enables(unit, target)]);
    expect(read(made, enables(unit, target))).toBe(`[Unit]\nUpholds=${unit}\n`);
  });

  test("torcx.target itself is not started any more", () => {
    const made = plan({
      "/bin/x": "x",
      [`${units}/multi-user.target.wants/torcx.target`]: { target: "../torcx.target" },
    });
    expect(list(made)).toEqual(["/usr/bin/x"]);
  });

  /** Paths of the image, and what the extension holds. */
  const places: readonly (readonly [title: string, entries: Record<string, MemoryEntry>, nodes: readonly string[]])[] =
    [
      ["sbin is bin (Z03)", { "/sbin/a": "a", "/usr/sbin/b": "b" }, ["/usr/bin/a", "/usr/bin/b"]],
      ["lib64", { "/lib64/x/data": "a" }, ["/usr/lib64/x/data"]],
      ["opt", { "/opt/x/y": "a" }, ["/opt/x/y"]],
      [
        "a merged root",
        { "/bin": { target: "usr/bin" }, "/usr/bin/x": "x", "/usr/sbin": { target: "bin" } },
        ["/usr/bin/x"],
      ],
      ["the same file twice", { "/bin/x": "x", "/usr/bin/x": "x" }, ["/usr/bin/x"]],
      ["one is a link to the other", { "/bin/x": "x", "/usr/bin/x": { target: "/bin/x" } }, ["/usr/bin/x"]],
      [
        "links between folders that move",
        { "/bin/x": { target: "../usr/share/x/y" }, "/usr/share/x/y": "y" },
        ["/usr/bin/x -> ../share/x/y", "/usr/share/x/y"],
      ],
      ["absolute links", { "/bin/x": { target: "/sbin/y" }, "/sbin/y": "y" }, ["/usr/bin/x -> y", "/usr/bin/y"]],
      [
        "links to the host",
        { "/bin/x": "x", "/usr/share/x/run": { target: "/run/x" } },
        ["/usr/bin/x", "/usr/share/x/run -> /run/x"],
      ],
      [
        "a mask",
        { "/bin/x": "x", [`${units}/a.service`]: { target: "/dev/null" } },
        ["/usr/bin/x", "/usr/lib/systemd/system/a.service -> /dev/null"],
      ],
      [
        "an alias",
        { [`${units}/a.service`]: "[Unit]\n", [`${units}/b.service`]: { target: "a.service" } },
        ["/usr/lib/systemd/system/a.service", "/usr/lib/systemd/system/b.service -> a.service"],
      ],
      [
        "a listed program elsewhere",
        { "/.torcx/manifest.json": manifest({ bin: ["/usr/libexec/x/y"] }), "/usr/libexec/x/y": "y" },
        ["/usr/bin/y -> ../libexec/x/y", "/usr/libexec/x/y"],
      ],
      [
        "a listed program an extension cannot hold there",
        { "/.torcx/manifest.json": manifest({ bin: ["/app/y"] }), "/app/y": "y" },
        ["/usr/bin/y"],
      ],
      [
        "listed units elsewhere",
        {
          "/.torcx/manifest.json": manifest(
            { units: ["/units", "/etc/systemd/system/multi-user.target.wants"] },
            "image-manifest-v1",
          ),
          "/units/a.service": "[Unit]\nAfter=torcx.target\n",
          "/etc/systemd/system/multi-user.target.wants/a.service": { target: "/units/a.service" },
        },
        ["/usr/lib/systemd/system/a.service", enables("a.service", "multi-user.target")],
      ],
      [
        "udev rules, by both names",
        {
          "/.torcx/manifest.json": manifest({ udev: ["/rules/1.rules"], udev_rules: ["/rules/2.rules"] }),
          "/rules/1.rules": "",
          "/rules/2.rules": "",
        },
        ["/usr/lib/udev/rules.d/1.rules", "/usr/lib/udev/rules.d/2.rules"],
      ],
      [
        "a listed file wins",
        { "/.torcx/manifest.json": manifest({ bin: ["/bin/x"] }), "/bin/x": "listed", "/usr/bin/x": "other" },
        ["/usr/bin/x"],
      ],
    ];
  test.each(places)("%s", (_, entries, nodes) => {
    expect(list(plan(entries))).toEqual(nodes);
  });

  test("the file that the manifest lists wins, and the other is told", () => {
    const made = plan({
      "/.torcx/manifest.json": manifest({ bin: ["/usr/bin/x"] }),
      "/bin/x": "o",
      "/usr/bin/x": "listed",
    });
    expect(read(made, "/usr/bin/x")).toBe("listed");
    expect(made.warnings).toEqual(["/bin/x is left out: the manifest lists /usr/bin/x for /usr/bin/x"]);
  });

  test("what cannot be shipped is told", () => {
    const made = plan({
      "/.torcx/manifest.json": manifest({ bin: [], containers: ["/x"] }),
      "/bin/x": "x",
      "/usr/lib/pipe": { type: "fifo" },
      "/usr/lib64": { target: "lib" },
      "/var/lib/x": "1",
      "/var/lib/y": "2",
    });
    expect(made.warnings).toEqual([
      "lists of the manifest that nothing is done about: containers",
      "/usr/lib/pipe is left out: a fifo has no place in an extension",
      "/usr/lib64 is left out: it is no folder and would hide the host's /usr/lib64",
      "2 files of /var left out: an extension holds /usr and /opt alone",
    ]);
  });

  test("a script that reads the variables: it is told, and its service has them", () => {
    const made = plan({
      "/usr/lib/x/start": { content: "#!/bin/sh\nexec $TORCX_BINDIR/x\n", mode: 0o755 },
      [`${units}/x.service`]: "[Service]\nEnvironmentFile=/run/metadata/torcx\nExecStart=/usr/lib/x/start\n",
    });
    expect(read(made, "/usr/lib/systemd/system/x.service")).toContain("Environment=TORCX_BINDIR=/usr/bin ");
    expect(made.warnings).toEqual(["/usr/lib/x/start speaks of Torcx and is shipped as it is: look at it"]);
  });
});

describe("refused, each with one line", () => {
  const x = { "/bin/x": "x" };
  test.each<readonly [string, Record<string, MemoryEntry>, string, string]>([
    [
      "a clash",
      { "/bin/x": "1", "/usr/bin/x": "2", "/sbin/y": "1", "/bin/y": "2" },
      "wrap-torcx-clash",
      "/bin/x and /usr/bin/x (both become /usr/bin/x)",
    ],
    ["nothing there", { "/etc/x": "x" }, "wrap-torcx-empty", "nothing of a Torcx image here"],
    ["an empty archive", {}, "wrap-torcx-empty", "nothing of a Torcx image here"],
    ["no JSON", { ...x, "/.torcx/manifest.json": "{" }, "wrap-torcx-manifest", "wanted JSON"],
    ["no object", { ...x, "/.torcx/manifest.json": "[]" }, "wrap-torcx-manifest", "wanted an object"],
    ["no kind", { ...x, "/.torcx/manifest.json": "{}" }, "wrap-torcx-manifest", "got the kind (none)"],
    [
      "an unknown kind",
      { ...x, "/.torcx/manifest.json": manifest({}, "image-manifest-v9") },
      "wrap-torcx-manifest",
      'got the kind "image-manifest-v9"',
    ],
    [
      "a profile",
      { ...x, "/.torcx/manifest.json": manifest({}, "profile-manifest-v0") },
      "wrap-torcx-manifest",
      "wanted image-manifest-v0 or image-manifest-v1",
    ],
    [
      "no lists",
      { ...x, "/.torcx/manifest.json": manifest({ bin: "/bin/x" }) },
      "wrap-torcx-manifest",
      "wanted a list of paths",
    ],
    [
      "numbers",
      { ...x, "/.torcx/manifest.json": manifest({ units: [1] }) },
      "wrap-torcx-manifest",
      "wanted a list of paths",
    ],
    [
      "files that are missing, all of them",
      { ...x, "/.torcx/manifest.json": manifest({ bin: ["/bin/x", "/bin/y"], units: ["/z"] }) },
      "wrap-torcx-manifest",
      "got /bin/y, /z",
    ],
    ["a folder as manifest", { ...x, "/.torcx/manifest.json/x": "" }, "wrap-torcx-manifest", "got a directory"],
    [
      "a manifest of a megabyte",
      { ...x, "/.torcx/manifest.json": " ".repeat((1 << 20) + 1) },
      "wrap-torcx-manifest",
      "wanted at most",
    ],
    [
      "a manifest that leads in a circle",
      { ...x, "/.torcx/manifest.json": { target: "manifest.json" } },
      "oci-link-loop",
      "",
    ],
  ])("%s", (_, entries, code, text) => {
    let error: unknown;
    try {
      plan(entries);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code });
    expect((error as Error).message).toContain(text);
    expect((error as Error).message).not.toContain("\n");
  });
});
