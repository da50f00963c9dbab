import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { extPath, type RootPath, rootPath } from "../../../src/core/paths.ts";
import { findPluginFolders, resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { parseEntry } from "../../../src/wrap/entry.ts";
import { planFlix } from "../../../src/wrap/flix/plan.ts";
import { debianRoot } from "../../support/debian-root.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-plug-ins-"));
afterAll(() => rmSync(work, { recursive: true }));
const root = join(work, "root");
const packages = ["curl", "openssh-server", "sudo", "python3", "postgresql", "libnss-myhostname", "libnss-systemd"];
execFileSync("cp", ["-al", debianRoot(packages), root]);
rmSync(join(root, "etc/nsswitch.conf"), { force: true });
writeFileSync(
  join(root, "etc/nsswitch.conf"),
  "passwd: files systemd\nhosts: files myhostname [NOTFOUND=return] dns\n",
);
const rootfs = openFolder(root);

const real = (path: string) => rootfs.resolve(rootPath(path))?.path;
/** As find(1) sees them. */
const find = (folder: string, ...tests: string[]): RootPath[] =>
  execFileSync("find", [join(root, folder), "-type", "f", ...tests], { encoding: "utf8" })
    .split("\n")
    .flatMap((path) => (path === "" ? [] : [rootPath(path.slice(root.length))]));

const lib = "/usr/lib/x86_64-linux-gnu";

describe("folders of plug-ins, against find(1)", () => {
  test.each([
    { program: "/usr/bin/curl", folders: [`${lib}/gconv`, `${lib}/ossl-modules`, `${lib}/engines-3`] },
    { program: "/usr/sbin/sshd", folders: [`${lib}/gconv`, `${lib}/ossl-modules`, "/lib/x86_64-linux-gnu/security"] },
    { program: "/usr/bin/sudo", folders: ["/usr/libexec/sudo"] },
    { program: "/usr/bin/python3.11", folders: ["/usr/lib/python3.11"] },
    {
      program: "/usr/lib/postgresql/15/bin/postgres",
      folders: ["/usr/lib/postgresql/15/lib", "/lib/x86_64-linux-gnu/security"],
    },
  ])("$program", ({ program, folders }) => {
    const closure = resolveClosure(rootfs, [rootPath(program)]);
    const loaded = new Set<string>(closure.objects.map(({ node }) => node.path));
    const found = findPluginFolders(rootfs, closure);
    for (const folder of folders) {
      const row = found.find((one) => real(one.folder) === real(folder));
      const wanted = find(folder, "-regex", ".*\\.so\\(\\..*\\)?").filter((path) => !loaded.has(path));
      expect(wanted.length).toBeGreaterThan(0);
      const libraries = new Set(row?.libraries.map((path) => real(path)));
      expect({ folder, libraries: [...libraries].toSorted() }).toEqual({
        folder,
        libraries: [...new Set(wanted)].toSorted(),
      });
    }
  });

  test("modules of the name service come along, those that nsswitch.conf names and glibc has not built in", () => {
    const { closure } = planFlix(rootfs, [parseEntry("/usr/bin/curl")], { name: "x", prefix: extPath("/usr/lib/x") });
    const modules = closure.objects.flatMap(({ node }) => (/libnss_[a-z]+\.so\.2$/.test(node.path) ? [node.path] : []));
    const wanted = find("/", "-regex", ".*/libnss_\\(systemd\\|myhostname\\)\\.so\\.2");
    expect(wanted.length).toBe(2);
    expect(modules.toSorted()).toEqual(wanted.toSorted());
  });
});
