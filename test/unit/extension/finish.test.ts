import { describe, expect, test } from "vitest";
import { extPath, rootPath } from "../../../src/core/paths.ts";
import { type FinishOptions, finishPlan } from "../../../src/extension/finish.ts";
import { planSetup } from "../../../src/extension/host-files/setup.ts";
import { planGuard } from "../../../src/extension/host-files/guard.ts";
import { parseManifest } from "../../../src/extension/manifest.ts";
import type { Action, Plan } from "../../../src/extension/plan.ts";
import { type MemoryEntry, memoryRootfs } from "../../../src/oci/memory-rootfs.ts";

/** A Debian root with nginx, as its packages lay it out. */
const debian: Record<string, MemoryEntry> = {
  "/etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
  "/etc/passwd":
    'root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:Web "100%":/var/www:/usr/sbin/nologin\nadm:x:50:51::/nonexistent:/bin/false\nbad name:x:1:1:::\n',
  "/etc/group": "root:x:0:\nwww-data:x:33:\nops:x:51:\nssl:x:60:www-data,nobody\n",
  "/etc/nginx": { type: "directory", mode: 0o755 },
  "/etc/nginx/nginx.conf": { content: "user www-data;\n", mode: 0o640, uid: 0, gid: 33 },
  "/etc/nginx/sites/a b%c": { content: "x", mode: 0o644 },
  "/etc/nginx/link": { target: "/usr/share/nginx/x" },
  "/usr/sbin/nginx": { content: "elf", mode: 0o755 },
  "/usr/lib/systemd/system/nginx.service":
    "[Service]\nUser=www-data\nSupplementaryGroups=ssl\nExecStart=/usr/sbin/nginx -g x\n[Install]\nWantedBy=multi-user.target\n",
  "/lib": { target: "usr/lib" },
  "/var/lib/nginx": { type: "directory", mode: 0o750, uid: 33, gid: 51 },
  "/var/log/nginx": { type: "directory", mode: 0o755, uid: 33, gid: 33 },
  "/var/lib/dpkg/status":
    "Package: nginx\nStatus: install ok installed\nVersion: 1.22.1-9+deb12u1\nArchitecture: amd64\nMaintainer: Nginx Team <n@example.org>\nSource: nginx-src (1.2)\nDescription: x\n y\n\n" +
    "Package: removed\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n" +
    "Package: other\nStatus: install ok installed\nVersion: 2:1.0\nArchitecture: amd64\n",
  "/var/lib/dpkg/info/nginx.list":
    "/.\n/lib\n/lib/systemd/system/nginx.service\n/usr/sbin/nginx\n/var/lib/nginx\n/var/log\n/var/log/nginx\n/var/gone\n",
  "/var/lib/dpkg/info/removed.list": "/usr/sbin/nginx-old\n",
  "/var/lib/dpkg/info/other:amd64.list": "/usr/bin/other\n/var/lib/other\n",
  "/usr/share/doc/nginx/copyright":
    "Format: http://x/copyright-format/1.0/\n\nFiles: *\nLicense: BSD-2-clause\n text\n\nFiles: b\nLicense: MIT\n",
};

const source = memoryRootfs(debian);
const copy = (from: string, to = from): Action => ({
  kind: "copy",
  from: source.resolve(rootPath(from))!,
  to: extPath(to),
  why: "entry",
});
const basic = (more: Partial<FinishOptions> = {}): FinishOptions => ({
  release: { name: "web", architecture: "x86-64" },
  manifest: { flixwrap: "1.2.3", image: "reg/nginx:1", command: ["flix", "reg/nginx:1", "web", "/usr/sbin/nginx"] },
  ...more,
});
const plan: Plan = { source, actions: [copy("/usr/sbin/nginx", "/usr/bin/nginx")], warnings: ["w"] };

/** The texts of all written files, and the targets of all links. */
function written(actions: readonly Action[]): Record<string, string> {
  return Object.fromEntries(
    actions.flatMap((action) =>
      action.kind === "write"
        ? [[action.to, Buffer.from(action.content).toString()]]
        : action.kind === "symlink"
          ? [[action.to, action.target]]
          : [],
    ),
  );
}

test("a program alone gets its release and its papers, and nothing else for free", () => {
  const finished = finishPlan(plan, basic({ state: false }));
  expect(finished.warnings).toEqual(["w"]);
  const files = written(finished.actions);
  expect(Object.keys(files).sort((a, b) => a.localeCompare(b))).toEqual([
    "/usr/lib/extension-release.d/extension-release.web",
    "/usr/share/flixwrap/web/manifest.json",
    "/usr/share/flixwrap/web/sbom.cdx.json",
    "/usr/share/flixwrap/web/sbom.spdx.json",
  ]);
  expect(files["/usr/lib/extension-release.d/extension-release.web"]).toBe("ID=_any\nARCHITECTURE=x86-64\n");
  expect(parseManifest(files["/usr/share/flixwrap/web/manifest.json"]!)).toMatchObject({
    name: "web",
    image: "reg/nginx:1",
    packages: ["pkg:deb/debian/nginx@1.22.1-9%2Bdeb12u1?arch=amd64&distro=debian-12"],
  });
});

test("an enabled unit is taken from the root, moved with its program, upheld, and seen after a reload", () => {
  const files = written(finishPlan(plan, basic({ enable: ["nginx.service"], state: false, users: false })).actions);
  expect(files["/usr/lib/systemd/system/nginx.service"]).toBe(
    String(debian["/usr/lib/systemd/system/nginx.service"]).replace("/usr/sbin", "/usr/bin"),
  );
  expect(files["/usr/lib/systemd/system/multi-user.target.d/10-nginx.service.conf"]).toBe(
    "[Unit]\nUpholds=nginx.service\n",
  );
  expect(files["/usr/lib/extension-release.d/extension-release.web"]).toContain("EXTENSION_RELOAD_MANAGER=1\n");
  const quiet = written(
    finishPlan(plan, basic({ release: { name: "web", reload: false }, enable: ["nginx.service"] })).actions,
  );
  expect(quiet["/usr/lib/extension-release.d/extension-release.web"]).not.toContain("RELOAD");
});

test("a unit whose program is where it says stays as it is", () => {
  const both: Plan = { ...plan, actions: [copy("/usr/sbin/nginx"), copy("/usr/lib/systemd/system/nginx.service")] };
  const unit = finishPlan(both, basic()).actions.find(({ to }) => to.endsWith("/nginx.service"));
  expect(unit?.kind).toBe("copy");
});

describe("the host's files", () => {
  const files = written(finishPlan(plan, basic({ enable: ["nginx.service"], etc: ["/etc/nginx"] })).actions);

  test("/etc is shipped beside and copied where nothing is", () => {
    const actions = finishPlan(plan, basic({ etc: ["/etc/nginx/nginx.conf", "/etc/nginx"] })).actions;
    const copies = actions.filter(({ kind, to }) => kind === "copy" && to.startsWith("/usr/share/web/etc"));
    expect(copies.map(({ to }) => to)).toEqual([
      "/usr/share/web/etc/nginx/nginx.conf",
      "/usr/share/web/etc/nginx/sites/a b%c",
    ]);
    const lines = files["/usr/lib/tmpfiles.d/web.conf"]!.split("\n");
    expect(lines.filter((line) => line.includes("/etc"))).toEqual([
      "d /etc/nginx 0755 root root",
      "L /etc/nginx/link - - - - /usr/share/nginx/x",
      "C /etc/nginx/nginx.conf 0640 root www-data - /usr/share/web/etc/nginx/nginx.conf",
      "d /etc/nginx/sites 0755 root root",
      'C "/etc/nginx/sites/a b%%c" 0644 root root - "/usr/share/web/etc/nginx/sites/a b%%c"',
    ]);
  });

  test("folders of /var that the shipped packages own", () => {
    const lines = files["/usr/lib/tmpfiles.d/web.conf"]!.split("\n");
    expect(lines.filter((line) => line.includes("/var"))).toEqual([
      "d /var/lib/nginx 0750 www-data ops",
      "d /var/log/nginx 0755 www-data www-data",
    ]);
  });

  test("users, their groups and memberships, without the root's numbers", () => {
    expect(files["/usr/lib/sysusers.d/web.conf"]).toBe(
      'g ops -\ng ssl -\nu www-data - "Web \\"100%%\\"" /var/www\nm www-data ssl\n',
    );
  });

  test("a service waits for them", () => {
    expect(files["/usr/lib/systemd/system/web-setup.service"]).toContain(
      "ExecStart=/usr/bin/systemd-sysusers web.conf\n",
    );
    expect(files["/usr/lib/systemd/system/web-setup.service"]).toContain("--create web.conf\n");
    expect(files["/usr/lib/systemd/system/nginx.service.d/10-web-setup.conf"]).toBe(
      "[Unit]\nRequires=web-setup.service\nAfter=web-setup.service\n",
    );
  });

  test("udev and the bus are told of what is there for them, and only then", () => {
    const service = ["x.service"];
    const commands = (...paths: string[]) => {
      const none = { hasUsers: false, hasFiles: false };
      const [setup] = planSetup("x", service, paths.map(extPath), none) as { content?: Uint8Array }[];
      return (
        Buffer.from(setup?.content ?? "")
          .toString()
          .match(/^ExecStart=.*$/gm) ?? []
      );
    };
    expect(commands("/usr/bin/x", "/usr/share/dbus-1/interfaces/x.xml")).toEqual([]);
    expect(commands("/usr/lib/udev/rules.d/60-x.rules")).toEqual(["ExecStart=-/usr/bin/udevadm control --reload"]);
    for (const folder of ["system.d", "system-services"])
      expect(commands(`/usr/share/dbus-1/${folder}/x`)).toEqual([expect.stringContaining("ReloadConfig")]);
  });

  test("with stopOnUnmerge a guard stops the units, templates by pattern; none without units", () => {
    const options = { stopOnUnmerge: true, enable: ["nginx.service"] };
    const guarded = written(finishPlan(plan, basic(options)).actions);
    const folders = "/usr/lib/systemd/system";
    expect(guarded[`${folders}/web-guard.service`]).toMatch(
      /extension-release\.web \].*systemctl stop nginx\.service'\n$/s,
    );
    expect(guarded[`${folders}/nginx.service.d/10-web-guard.conf`]).toBe("[Unit]\nWants=web-guard.service\n");
    expect(files[`${folders}/web-guard.service`]).toBeUndefined();
    const [guard] = planGuard("x", ["a@.service", "b.timer"]);
    expect(Buffer.from((guard as { content: Uint8Array }).content).toString()).toContain("stop a@*.service b.timer'");
    expect(planGuard("x", [])).toEqual([]);
  });

  test.each(["/usr/x", "/etc", "/etc/../usr/x", "/etc/none"])("--etc %s is refused", (path) => {
    expect(() => finishPlan(plan, basic({ etc: [path] }))).toThrow(/etc|no such file/);
  });
});

test("kept owners bring their numbers", () => {
  const owned: Plan = {
    ...plan,
    actions: [{ ...copy("/etc/nginx/nginx.conf", "/usr/share/x"), kind: "copy" } as Action],
  };
  const files = written(finishPlan(owned, basic({ keepOwners: true, papers: false })).actions);
  expect(files["/usr/lib/sysusers.d/web.conf"]).toBe("g www-data 33\n");
});

test("private files say nothing about the host's state", () => {
  const hidden: Plan = { ...plan, actions: [copy("/usr/sbin/nginx", "/usr/lib/flixwrap/web/nginx")] };
  const files = written(finishPlan(hidden, basic({ privateFolder: extPath("/usr/lib/flixwrap/web") })).actions);
  expect(files["/usr/lib/tmpfiles.d/web.conf"]).toBeUndefined();
  expect(files["/usr/share/flixwrap/web/sbom.spdx.json"]).toContain('"nginx"');
});

describe("bills of materials", () => {
  const finished = finishPlan(plan, basic());
  test("SPDX", () => {
    const spdx = JSON.parse(finished.spdx) as {
      packages: Record<string, unknown>[];
      relationships: unknown[];
      documentNamespace: string;
    };
    expect(spdx.packages.slice(1)).toMatchObject([
      {
        name: "nginx",
        versionInfo: "1.22.1-9+deb12u1",
        supplier: "Organization: Nginx Team (n@example.org)",
        licenseComments: "BSD-2-clause AND MIT",
        sourceInfo: "built from source package nginx-src",
        externalRefs: [{ referenceLocator: "pkg:deb/debian/nginx@1.22.1-9%2Bdeb12u1?arch=amd64&distro=debian-12" }],
      },
    ]);
    expect(spdx.relationships).toHaveLength(2);
    expect(spdx.documentNamespace).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
  test("CycloneDX", () => {
    expect(JSON.parse(finished.cycloneDx)).toMatchObject({
      bomFormat: "CycloneDX",
      metadata: { timestamp: "1970-01-01T00:00:00Z", component: { name: "web" } },
      components: [{ name: "nginx", licenses: [{ license: { name: "BSD-2-clause AND MIT" } }] }],
    });
  });
  test("equal builds give equal bytes, another package another identity", () => {
    expect(finishPlan(plan, basic()).spdx).toBe(finished.spdx);
    expect(finishPlan({ ...plan, actions: [] }, basic()).spdx.match(/urn:uuid:\S+/)).not.toEqual(
      finished.spdx.match(/urn:uuid:\S+/),
    );
  });

  test("Alpine's database", () => {
    const alpine = memoryRootfs({
      "/etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n",
      "/lib/apk/db/installed":
        "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:T <t@example.org>\nU:https://musl.example/\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nF:usr/lib\n\nP:zlib\nV:1.3\nA:x86_64\nF:lib\nR:libz.so.1\n",
      "/lib/ld-musl-x86_64.so.1": "elf",
    });
    const from = alpine.resolve(rootPath("/lib/ld-musl-x86_64.so.1"))!;
    const musl: Plan = {
      source: alpine,
      actions: [{ kind: "copy", from, to: extPath("/usr/lib/x"), why: "" }],
      warnings: [],
    };
    expect(finishPlan(musl, basic()).packages).toEqual([
      {
        type: "apk",
        name: "musl",
        version: "1.2.5-r0",
        architecture: "x86_64",
        distribution: "alpine",
        release: "3.20.1",
        source: "musl",
        licence: "MIT",
        supplier: "T <t@example.org>",
        homepage: "https://musl.example/",
      },
    ]);
  });

  test("distroless' database", () => {
    const distroless = memoryRootfs({
      "/usr/lib/os-release": "ID=debian\nVERSION_ID=12\n",
      "/var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 2.36\nArchitecture: amd64\n",
      "/var/lib/dpkg/status.d/libc6.md5sums": "0123456789abcdef0123456789abcdef  lib/x86_64-linux-gnu/libc.so.6\n",
      "/usr/lib/x86_64-linux-gnu/libc.so.6": "elf",
    });
    const from = distroless.resolve(rootPath("/usr/lib/x86_64-linux-gnu/libc.so.6"))!;
    const libc: Plan = {
      source: distroless,
      actions: [{ kind: "copy", from, to: extPath("/usr/lib/x"), why: "" }],
      warnings: [],
    };
    expect(finishPlan(libc, basic()).packages.map(({ name, version }) => [name, version])).toEqual([["libc6", "2.36"]]);
  });
});
