import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { checkTree, countFindings, wordFinding } from "../../src/extension/check/check.ts";
import { type FinishOptions, finishPlan } from "../../src/extension/finish.ts";
import type { Plan } from "../../src/extension/plan.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { packTree } from "../../src/pack/pack.ts";
import { parseEntry } from "../../src/wrap/entry.ts";
import { planFlix } from "../../src/wrap/flix/plan.ts";
import { bootAndRun, configuredRoot, copyRoot, systemd257 } from "./pack-guest.ts";

let folder: string;
let guest: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "booted-test-"));
  guest = copyRoot(systemd257());
});
afterAll(() => {
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

const context = quietContext({ env: process.env });

/** A program that answers with its version and user, whether its configuration is there and its state writable. */
const daemon = `
#include <stdio.h>
#include <unistd.h>
#include <stdlib.h>
#ifndef VERSION
#define VERSION 1
#endif
int main(void) {
  FILE *state = fopen("/var/lib/svc/started", "a");
  FILE *conf = fopen("/etc/svc/svc.conf", "r");
  if (!state || !conf) return 9;
  fprintf(state, "version %d uid %d\\n", VERSION, getuid() != 0);
  fclose(state);
  for (;;) pause();
}`;

/** A root as an image would have it: a service with a user, configuration and state. */
function serviceRoot(version: number): string {
  const root = mkdtempSync(join(folder, "root-"));
  chmodSync(root, 0o755);
  for (const place of ["usr/sbin", "usr/lib/systemd/system", "etc/svc", "var/lib/dpkg/info", "var/lib/svc"])
    mkdirSync(join(root, place), { recursive: true });
  const source = join(root, "svc.c");
  writeFileSync(source, daemon);
  execFileSync("gcc", ["-static", `-DVERSION=${version}`, "-o", join(root, "usr/sbin/svc"), source]);
  rmSync(source);
  writeFileSync(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nsvcuser:x:77:77:Svc:/var/lib/svc:/usr/sbin/nologin\n",
  );
  writeFileSync(join(root, "etc/group"), "root:x:0:\nsvcuser:x:77:\n");
  writeFileSync(join(root, "etc/svc/svc.conf"), `version ${version}\n`);
  execFileSync("chown", ["77:77", join(root, "var/lib/svc")]);
  writeFileSync(
    join(root, "var/lib/dpkg/status"),
    `Package: svc\nStatus: install ok installed\nVersion: ${version}\nArchitecture: amd64\n`,
  );
  writeFileSync(join(root, "var/lib/dpkg/info/svc.list"), "/usr/sbin/svc\n/var/lib/svc\n");
  const services = join(root, "usr/share/dbus-1/system-services");
  mkdirSync(services, { recursive: true });
  writeFileSync(
    join(services, "org.example.Svc.service"),
    "[D-BUS Service]\nName=org.example.Svc\nExec=/bin/false\nSystemdService=svc.service\n",
  );
  writeFileSync(
    join(root, "usr/lib/systemd/system/svc.service"),
    "[Unit]\nDescription=A service\n[Service]\nUser=svcuser\nExecStart=/usr/sbin/svc\n[Install]\nWantedBy=multi-user.target\n",
  );
  return root;
}

/** Flix, finish, check, pack: what the command line does. */
async function convert(
  root: string,
  name: string,
  entries: readonly string[],
  options: Partial<FinishOptions>,
  output: string,
) {
  const source = openFolder(root, context);
  const flix: Plan = planFlix(source, entries.map(parseEntry), { name, prefix: extPath("/usr/lib/flixwrap") });
  const plan = finishPlan(flix, {
    release: { name, architecture: "x86-64" },
    manifest: { flixwrap: "0" },
    privateFolder: extPath(`/usr/lib/flixwrap/${name}`),
    ...options,
  });
  const tree = buildTree(plan, { name });
  const findings = checkTree(tree);
  expect(findings.filter(({ severity }) => severity === "error").map((finding) => wordFinding(finding))).toEqual([]);
  await packTree(tree, { format: "squashfs", output }, context);
  return { tree, findings };
}

test("a booted systemd 257 runs what was converted, takes a newer version live, and lets go of it", async () => {
  const nginxRoot = configuredRoot("bookworm", ["nginx-light"]);
  const extensions = join(guest, "var/lib/extensions");
  mkdirSync(extensions, { recursive: true });
  const web = await convert(
    nginxRoot,
    "web",
    ["/usr/sbin/nginx", "/usr/share/nginx", "/usr/lib/nginx"],
    { enable: ["nginx.service"], etc: ["/etc/nginx"] },
    join(extensions, "web.raw"),
  );
  expect(countFindings(web.findings).error).toBe(0);
  const service = { enable: ["svc.service"], etc: ["/etc/svc"], stopOnUnmerge: true };
  await convert(serviceRoot(1), "svc", ["/usr/sbin/svc", "/usr/share/dbus-1"], service, join(extensions, "svc.raw"));
  await convert(serviceRoot(2), "svc", ["/usr/sbin/svc", "/usr/share/dbus-1"], service, join(folder, "svc.raw"));
  copyFileSync(join(folder, "svc.raw"), join(guest, "svc2.raw"));

  const said = bootAndRun(
    guest,
    `
settle() { for i in $(seq 50); do systemctl is-active --quiet "$@" && break; sleep 0.1; done; sleep 0.3; }
settle nginx; settle svc
echo "boot nginx $(systemctl is-active nginx) svc $(systemctl is-active svc)"
ip link set lo up 2>/dev/null
exec 3<>/dev/tcp/127.0.0.1/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && echo "web $(head -1 <&3)"
echo "libs $(grep -c -E ' /usr/lib/(x86_64-linux-gnu|libc)' /proc/$(systemctl show -P MainPID nginx)/maps)"
echo "user $(stat -c '%U:%G %a' /var/lib/svc) etc $(cat /etc/svc/svc.conf) nginx $(stat -c '%U' /var/lib/nginx/body 2>/dev/null) $(stat -c '%U:%G' /var/log/nginx)"
echo "changed by admin" >/etc/svc/svc.conf
cat /var/lib/svc/started
mv /svc2.raw /var/lib/extensions/svc.raw
before=$(systemctl show -P MainPID svc)
systemd-sysext refresh 2>/dev/null; sleep 3
[ "$before" = "$(systemctl show -P MainPID svc)" ] && echo "runs on"
systemctl restart svc; settle svc
echo "after refresh $(systemctl is-active svc) etc $(cat /etc/svc/svc.conf)"
tail -1 /var/lib/svc/started
systemctl stop svc; userdel svcuser; rm -r /var/lib/svc; systemctl start svc; settle svc
echo "made again $(systemctl is-active svc) $(stat -c '%U' /var/lib/svc)"
# Before the unmerge the target would uphold them: start them again at once.
systemd-sysext unmerge 2>/dev/null
for i in $(seq 50); do systemctl is-active --quiet svc || break; sleep 0.1; done
echo "stopped $(systemctl is-active svc) $(systemctl is-active svc-guard) other $(systemctl is-active nginx)"
systemctl stop nginx 2>/dev/null
echo "left $(ls /usr/bin/nginx /usr/bin/svc /usr/lib/systemd/system/svc.service 2>/dev/null | wc -l) overlays $(grep -c ' - overlay sysext' /proc/self/mountinfo)"
echo "running $(systemctl is-active svc nginx | grep -cx active)"
`,
  );
  const lines = said.trim().split("\n");
  expect(lines).toEqual([
    "boot nginx active svc active",
    expect.stringMatching(/^web HTTP\/1\.1 \d+/),
    "libs 0",
    "user svcuser:svcuser 755 etc version 1 nginx www-data root:adm",
    "version 1 uid 1",
    "runs on",
    "after refresh active etc changed by admin",
    "version 2 uid 1",
    "made again active svcuser",
    "stopped inactive inactive other active",
    "left 0 overlays 0",
    "running 0",
  ]);

  // MU4, MU3: the administrator's word stays over a boot; a merge on a running host makes users, folders, names of the bus.
  const again = bootAndRun(
    guest,
    `
settle() { for i in $(seq 50); do systemctl is-active --quiet "$@" && break; sleep 0.1; done; sleep 0.3; }
names() { busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ListActivatableNames | grep -c org.example.Svc; }
settle svc
echo "boot $(systemctl is-active svc) etc $(cat /etc/svc/svc.conf)"
systemd-sysext unmerge 2>/dev/null
for i in $(seq 50); do systemctl is-active --quiet svc || break; sleep 0.1; done
userdel svcuser; rm -r /var/lib/svc /etc/svc
busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig
echo "gone $(getent passwd svcuser) $(ls -d /var/lib/svc 2>/dev/null) bus $(names)"
systemd-sysext merge 2>/dev/null
settle svc
echo "live $(systemctl is-active svc) $(stat -c '%U:%G %a' /var/lib/svc) etc $(cat /etc/svc/svc.conf) bus $(names)"
`,
  );
  expect(again.trim().split("\n")).toEqual([
    "boot active etc changed by admin",
    "gone   bus 0",
    "live active svcuser:svcuser 755 etc version 2 bus 1",
  ]);
});
