import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const folder = scratch();
const [host, extension] = [join(folder, "host"), join(folder, "foo")];
const make = (at: string, script: string) => {
  mkdirSync(at);
  execFileSync("bash", ["-euc", `umask 022; ${script}`], { cwd: at });
};
beforeAll(() => {
  make(
    host,
    `mkdir -p usr/{bin,lib/x86_64-linux-gnu,share/doc/tool,share/same,share/polkit/rules.d,lib/kept} var/usrlocal/bin opt
ln -s bin usr/sbin; ln -s ../var/usrlocal usr/local; ln -s kept usr/lib/alias; ln -s kept usr/lib/twin
ln -s tool-1 usr/bin/tool; echo one >usr/bin/tool-1; echo two >usr/bin/other; echo lib >usr/lib/x86_64-linux-gnu/libhost.so.1
echo read >usr/share/doc/tool/README; echo same >usr/share/same/file; echo file >usr/share/file; echo os >usr/lib/os-release
chmod 700 usr/share/polkit/rules.d`,
  );
  make(
    extension,
    `mkdir -p usr/{sbin,local/bin,bin,lib/x86_64-linux-gnu,lib/extension-release.d,lib/alias,lib/foo,share/doc,share/same,share/file,share/polkit/rules.d} opt/foo
echo ID=_any >usr/lib/extension-release.d/extension-release.foo
echo x >usr/sbin/newd; echo x >usr/local/bin/x; ln -s tool-2 usr/bin/tool; echo two >usr/bin/tool-2; echo three >usr/bin/other
echo mine >usr/lib/x86_64-linux-gnu/libhost.so.1; echo x >usr/lib/alias/x; ln -s kept usr/lib/twin
ln -s ../foo usr/share/doc/tool; echo other >usr/share/same/file; echo x >usr/share/file/x; echo x >usr/lib/foo/x
echo rule >usr/share/polkit/rules.d/foo.rules; echo x >opt/foo/x`,
  );
});

/** Every path of the host as somebody on it sees it, links not followed. */
const look = `find usr opt \\( -type f -printf "%p %y %m " -exec sha256sum {} \\; -o -printf "%p %y %m %l\\n" \\)`;

/** Paths of the host that look otherwise after a merge by the kernel; what is below one of them goes with it. */
function changedByMerge(): string[] {
  const merge = ["usr", "opt"].map(
    (top) => `mount -t overlay o -o ro,lowerdir=${extension}/${top}:${host}/${top} ${host}/${top}`,
  );
  const seen = (script: string) =>
    new Map(
      sh(`exec unshare --mount bash -ec '${script}; cd ${host}; ${look}'`)
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => [line.split(" ")[0]!, line] as const),
    );
  const [before, after] = [seen("true"), seen(merge.join("; "))];
  // A link has no mode of its own.
  const changed = [...before].filter(([path, line]) => after.get(path) !== line).map(([path]) => `/${path}`);
  return changed.filter((path) => !changed.some((other) => path.startsWith(`${other}/`))).toSorted();
}

test("--host tells exactly what a merge would change of that host, and touches nothing", () => {
  const before = sh(`cd ${folder} && find . -printf "%p %m %T@ %l\\n" | sort`);
  const run = flixwrap(["check", "--json", "--host", host, extension]);
  expect(run).toMatchObject({ status: 1, stderr: "" });
  const { findings } = JSON.parse(run.stdout) as { readonly findings: readonly { rule: string; path?: string }[] };
  const told = findings.filter(({ rule }) => rule.startsWith("shadowed-"));
  expect(told.map(({ path }) => path!).toSorted()).toEqual(changedByMerge());
  expect(Object.fromEntries(told.map(({ path, rule }) => [path, rule]))).toMatchObject({
    // X20, X21
    "/usr/sbin": "shadowed-link",
    "/usr/local": "shadowed-link",
    "/usr/lib/alias": "shadowed-link",
    "/usr/bin/tool": "shadowed-file",
    "/usr/share/doc/tool": "shadowed-file",
    "/usr/share/polkit/rules.d": "shadowed-mode",
  });
  expect(sh(`cd ${folder} && find . -printf "%p %m %T@ %l\\n" | sort`)).toBe(before);
});

test("each finding names a file and a rule in the text, and one of them can be let pass", () => {
  const { stdout } = flixwrap(["check", "--host", host, "--no-check", "shadowed-mode", extension]);
  expect(stdout).toContain(`${extension}: error: /usr/sbin: is a link to bin on the given host`);
  expect(stdout).not.toContain("shadowed-mode");
  expect(readFileSync(join(host, "usr/bin/other"), "utf8")).toBe("two\n");
});
