import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { type MemoryEntry, memoryRootfs } from "../../../../src/oci/memory-rootfs.ts";
import { formatMigrationButane, wordMigration } from "../../../../src/wrap/torcx/migration.ts";
import { parseProfile, parseTorcxName } from "../../../../src/wrap/torcx/profile.ts";
import { scanHost, wordScan } from "../../../../src/wrap/torcx/scan.ts";

const scan = (entries: Record<string, MemoryEntry>): string[] => wordScan(scanHost(memoryRootfs(entries)));
const profile = (...images: readonly (readonly [name: string, reference: string])[]): string =>
  JSON.stringify({
    kind: "profile-manifest-v0",
    value: { images: images.map(([name, reference]) => ({ name, reference })) },
  });

describe("a host's leftovers of Torcx", () => {
  test("the vendor's profile, the user's and their archives", () => {
    expect(
      scan({
        "/etc/torcx/next-profile": "mine\n",
        "/etc/torcx/profiles/mine.json": profile(["docker", "20.10"], ["gone", "1"]),
        "/etc/torcx/profiles/other.json": profile(["docker", "1.12"]),
        "/usr/share/torcx/profiles/vendor.json": profile(["docker", "com.coreos.cl"]),
        "/usr/share/torcx/profiles/docker-1.12-no.json": profile(),
        "/usr/share/torcx/store/docker:com.coreos.cl.torcx.tgz": "",
        "/var/lib/torcx/store/docker:20.10.torcx.tgz": "",
        "/var/lib/torcx/store/3510.2.0/x:1.torcx.squashfs": "",
      }),
    ).toEqual([
      "profile mine",
      "image docker:20.10 of /etc/torcx/profiles/mine.json: flixwrap torcx /var/lib/torcx/store/docker:20.10.torcx.tgz docker",
      "image gone:1 of /etc/torcx/profiles/mine.json: no archive of it is on this host",
      "/etc/torcx/profiles/mine.json: a profile of Torcx: remove it when its images are converted",
      "/etc/torcx/profiles/other.json: a profile of Torcx: remove it when its images are converted",
      "/etc/torcx/next-profile: mine: selects a profile of Torcx: remove it",
      "/usr/share/torcx/store/docker:com.coreos.cl.torcx.tgz: no profile uses it: remove it",
      "/var/lib/torcx/store/3510.2.0/x:1.torcx.squashfs: no profile uses it: remove it",
    ]);
  });

  const dropIn = "/etc/systemd/system/containerd.service.d/10-use-custom-config.conf";
  /** What is there, and the lines about it. */
  const rows: readonly (readonly [title: string, entries: Record<string, MemoryEntry>, lines: readonly string[]])[] = [
    ["nothing", { "/etc/hostname": "x" }, ["nothing of Torcx is here"]],
    [
      "a drop-in that names programs of Torcx",
      {
        [dropIn]:
          "[Service]\nEnvironment=CONTAINERD_CONFIG=/etc/containerd/config.toml\nExecStart=\nExecStart=/usr/bin/env PATH=${TORCX_BINDIR}:${PATH} ${TORCX_BINDIR}/containerd --config ${CONTAINERD_CONFIG}\n",
      },
      [
        `${dropIn}:4: ExecStart=/usr/bin/env PATH=\${TORCX_BINDIR}:\${PATH} \${TORCX_BINDIR}/containerd --config \${CONTAINERD_CONFIG}: write ExecStart=/usr/bin/env PATH=/usr/bin:\${PATH} /usr/bin/containerd --config \${CONTAINERD_CONFIG}, or remove the file to use the extension's own`,
      ],
    ],
    [
      "a unit of one's own",
      {
        "/etc/systemd/system/x.service":
          "[Unit]\n# torcx.target\nAfter=torcx.target\nWants=y.service\n[Service]\nEnvironmentFile=/run/metadata/torcx\n",
      },
      [
        "/etc/systemd/system/x.service:3: After=torcx.target: remove this line",
        "/etc/systemd/system/x.service:6: EnvironmentFile=/run/metadata/torcx: remove this line",
      ],
    ],
    [
      "other files",
      {
        "/etc/kubernetes/kubelet.env": "# /run/torcx/bin\nPATH=/run/torcx/unpack/docker/bin:/usr/bin\n",
        "/etc/motd": "no Torcx",
      },
      [
        "/etc/kubernetes/kubelet.env:2: PATH=/run/torcx/unpack/docker/bin:/usr/bin: programs are in /usr/bin, other files below /usr",
      ],
    ],
    [
      "links of systemctl enable",
      {
        "/etc/systemd/system/multi-user.target.wants/docker.service": { target: "/run/systemd/system/docker.service" },
        "/etc/systemd/system/y.service": { target: "/run/torcx/unpack/y/lib/systemd/system/y.service" },
        "/etc/systemd/system/z.service": { target: "/usr/lib/systemd/system/z.service" },
      },
      [
        "/etc/systemd/system/multi-user.target.wants/docker.service: /run/systemd/system/docker.service: remove it: the extension starts docker.service itself, or convert with --enable docker.service",
        "/etc/systemd/system/y.service: /run/torcx/unpack/y/lib/systemd/system/y.service: remove it: the extension has the unit",
      ],
    ],
    [
      "the generator, once",
      { "/lib": { target: "usr/lib" }, "/usr/lib/systemd/system-generators/torcx-generator": "" },
      [
        "/usr/lib/systemd/system-generators/torcx-generator: sets Torcx up at boot: mask it, ln -sfn /dev/null /etc/systemd/system-generators/torcx-generator",
      ],
    ],
    [
      "the generator, masked",
      {
        "/etc/systemd/system-generators/torcx-generator": { target: "/dev/null" },
        "/usr/lib/systemd/system-generators/torcx-generator": "",
      },
      ["nothing of Torcx is here"],
    ],
    [
      "Flatcar's own extensions (B13)",
      {
        "/etc/extensions/docker-flatcar.raw": { target: "/usr/share/flatcar/sysext/docker-flatcar.raw" },
        "/etc/extensions/containerd-flatcar.raw": { target: "/dev/null" },
        "/etc/extensions/other.raw": { target: "/opt/extensions/other.raw" },
      },
      [
        "/etc/extensions/docker-flatcar.raw: /usr/share/flatcar/sysext/docker-flatcar.raw: holds the same programs: ln -sfn /dev/null /etc/extensions/docker-flatcar.raw",
      ],
    ],
    [
      "a broken profile, a link in a circle",
      { "/usr/share/oem/torcx/profiles/oem.json": "{", "/etc/torcx/next-profile": { target: "next-profile" } },
      [
        "/usr/share/oem/torcx/profiles/oem.json: is no profile of Torcx: not JSON; remove it",
        "could not read /etc/torcx/next-profile",
      ],
    ],
  ];
  test.each(rows)("%s", (_, entries, lines) => {
    expect(scan(entries)).toEqual(lines);
  });
});

test.each([
  ["docker:20.10.torcx.tgz", "docker", "20.10"],
  ["docker:com.coreos.cl.torcx.squashfs", "docker", "com.coreos.cl"],
  ["wireguard:0.0.20180708-1.torcx.tar.zst", "wireguard", "0.0.20180708-1"],
  ["docker.torcx.tgz", undefined, undefined],
  ["docker:1.tgz", undefined, undefined],
])("the file name %s", (file, name, reference) => {
  expect(parseTorcxName(file)).toEqual(name === undefined ? undefined : { name, reference });
});

test.each([
  [
    '{"kind":"profile-manifest-v1","value":{"images":[{"name":"a","reference":"b","remote":"c"},{}]}}',
    [{ name: "a", reference: "b" }],
  ],
  ['{"kind":"profile-manifest-v0","value":{"images":null}}', []],
  ['{"kind":"image-manifest-v0"}', 'kind "image-manifest-v0"'],
  ['{"kind":"profile-manifest-v0","value":{"images":3}}', "images is no list"],
  ["null", "kind (none)"],
  ["", "not JSON"],
])("the profile %s", (text, images) => {
  expect(parseProfile(text)).toEqual(images);
});

test("the migration: masks for what the extension holds, as lines and as Butane (B13)", () => {
  const plan = { replaces: ["docker-flatcar", "containerd-flatcar"], enabled: ["docker.socket"] };
  expect(wordMigration(plan)[0]).toContain("ln -sfn /dev/null /etc/extensions/docker-flatcar.raw");
  expect(wordMigration(plan).at(-1)).toBe("started by the extension: docker.socket");
  const script = "import json,sys,yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
  const read = execFileSync("python3", ["-c", script], { input: formatMigrationButane(plan), encoding: "utf8" });
  const link = (path: string) => ({ path, target: "/dev/null", overwrite: true, hard: false });
  expect(JSON.parse(read)).toEqual({
    variant: "flatcar",
    version: "1.0.0",
    storage: {
      links: [
        link("/etc/extensions/docker-flatcar.raw"),
        link("/etc/extensions/containerd-flatcar.raw"),
        link("/etc/systemd/system-generators/torcx-generator"),
      ],
    },
  });
  expect(formatMigrationButane({ replaces: [], enabled: [] })).not.toContain("-flatcar.raw");
});
