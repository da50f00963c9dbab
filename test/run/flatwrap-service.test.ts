import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { scratch } from "../support/program.ts";
import { makeRoot, openToAll, readReport, stage } from "./flatwrap-world.ts";
import { bootAndRun, copyRoot, systemd257 } from "./pack-guest.ts";

const folder = openToAll(scratch());
const unitModes = ["sandbox", "wrapper"] as const;
let guest: string;
let said: string;

const units = (name: string, port: number): Record<string, string> => ({
  [`${name}.service`]: "[Service]\nType=notify\nExecStart=/usr/bin/probe serve\nTimeoutStartSec=5\n",
  [`${name}.socket`]: `[Socket]\nListenStream=127.0.0.1:${port}\n`,
});

/** Each service's answer, then what systemd knows of it; every section starts with its name. */
const script = `
ip link set lo up 2>/dev/null
for name in sandbox wrapper; do
  port=$([ $name = sandbox ] && echo 7001 || echo 7002)
  systemctl start $name.socket
  echo "== $name answer"; exec 3<>/dev/tcp/127.0.0.1/$port; cat <&3; exec 3>&-
  echo "== $name state"; systemctl show -p MainPID -p ActiveState -p NotifyAccess -p Result $name.service
  cat /proc/$(systemctl show -p MainPID --value $name.service)/cmdline | tr '\\0' ' '; echo
  ls /run/probe.mark && rm -f /run/probe.mark
  echo "== $name stop"; systemctl stop $name.socket $name.service; systemctl show -p ActiveState -p Result $name.service
done
systemctl start nginx.service
echo "== nginx page"; exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 | tail -n 1; exec 3>&-
echo "== nginx state"; systemctl show -p MainPID --value nginx.service; cat /run/nginx.pid; readlink /proc/$(cat /run/nginx.pid)/exe
systemctl reload nginx.service && systemctl is-active nginx.service
echo "== nginx stop"; systemctl stop nginx.service; systemctl show -p ActiveState -p Result nginx.service; ls /proc/$(cat /run/nginx.pid 2>/dev/null)/exe 2>/dev/null | grep nginx || echo none
echo "== run"
for how in "" "-p User=daemon" "-p User=daemon -p NoNewPrivileges=yes -p PrivateTmp=yes"; do
  systemd-run --quiet --wait --pipe -p WorkingDirectory=/usr $how /usr/bin/wrapper-probe | tr -d '\\r'
done
systemd-run --quiet --wait --pipe -p RestrictNamespaces=yes /usr/bin/wrapper-probe 2>&1
systemd-run --quiet --wait --pipe -p RestrictNamespaces=yes -p User=daemon /usr/bin/wrapper-probe 2>&1
echo "== mounts"; grep -c lib/flixwrap /proc/self/mountinfo
echo "== end"
`;

beforeAll(async () => {
  guest = copyRoot(systemd257());
  for (const [index, unitMode] of unitModes.entries()) {
    const root = join(folder, `root-${unitMode}`);
    makeRoot(root);
    mkdirSync(join(root, "usr/lib/systemd/system"), { recursive: true });
    for (const [name, text] of Object.entries(units(unitMode, 7001 + index))) {
      writeFileSync(join(root, "usr/lib/systemd/system", name), text);
    }
    const entries = Object.keys(units(unitMode, 0)).map((name) => `/usr/lib/systemd/system/${name}`);
    const program = `/usr/bin/probe:/usr/bin/${unitMode}-probe`;
    install(await stage(root, join(folder, unitMode), [program, ...entries], { unitMode }, unitMode), unitMode);
  }
  const debian = debianRoot(["nginx-light"], { configured: true });
  const unit = "/lib/systemd/system/nginx.service:/usr/lib/systemd/system/nginx.service";
  // The image's own users and configuration; logs and state are the host's.
  const options = { etc: "chroot", hostFiles: "/etc/resolv.conf /etc/hosts" };
  install(await stage(debian, join(folder, "nginx"), ["/usr/sbin/nginx", unit], options, "nginx"), "nginx");
  mkdirSync(join(guest, "var/log/nginx"), { recursive: true });
  mkdirSync(join(guest, "var/lib/nginx"), { recursive: true });
  mkdirSync(join(guest, "var/www/html"), { recursive: true });
  writeFileSync(join(guest, "var/www/html/index.html"), "a page of the host\n");
  said = bootAndRun(guest, script);
});

afterAll(() => rmSync(guest, { recursive: true, force: true }));

function install(tree: string, name: string): void {
  const place = join(guest, "var/lib/extensions", name);
  cpSync(tree, place, { recursive: true, verbatimSymlinks: true });
  mkdirSync(join(place, "usr/lib/extension-release.d"), { recursive: true });
  writeFileSync(join(place, `usr/lib/extension-release.d/extension-release.${name}`), "ID=_any\n");
}

const section = (name: string): string => {
  const [, text] = said.split(`== ${name}\n`);
  if (text === undefined) throw new Error(`no section ${name} in:\n${said}`);
  return text.split("\n== ")[0]!;
};

describe.each(unitModes)("a service under a booted systemd 257, as %s", (unitMode) => {
  it("is notified of, gets its socket, and is the tracked process itself", () => {
    const state = section(`${unitMode} state`);
    expect(state).toContain("ActiveState=active");
    const report = readReport(section(`${unitMode} answer`).split("\n")[0]!);
    expect(report).toMatchObject({ uid: [0, 0], argv: ["/usr/bin/probe", "serve"], cwd: "/" });
    expect(state).toContain(`MainPID=${report.pid}\n`);
    expect(state).toContain("\n/usr/bin/probe serve \n");
  });

  it("sees a read-only root and the host's devices, /etc and /run", () => {
    const lines = section(`${unitMode} answer`).split("\n").slice(1);
    expect(lines).toEqual(["/usr/x EROFS", "/dev/null ok", "/etc/hostname ok", "/run/probe.mark ok"]);
    expect(section(`${unitMode} state`)).toContain("/run/probe.mark");
  });

  it("stops cleanly", () => {
    expect(section(`${unitMode} stop`)).toBe("Result=success\nActiveState=inactive");
  });
});

it("nginx of an image serves, reloads and stops under its own unit", () => {
  expect(section("nginx page")).toBe("a page of the host");
  const [main, file, program, reloaded] = section("nginx state").split("\n");
  expect(main).toBe(file);
  expect(program).toBe("/usr/sbin/nginx");
  expect(reloaded).toBe("active");
  expect(section("nginx stop")).toBe("Result=success\nActiveState=inactive\nnone");
});

it("systemd-run starts a wrapper as whom and where it is told, and one line tells of forbidden namespaces", () => {
  const lines = section("run").split("\n");
  const reports = lines.filter((line) => line.startsWith("{")).map(readReport);
  expect(reports.map(({ uid, cwd }) => [...uid, cwd])).toEqual([
    [0, 0, "/usr"],
    [1, 1, "/usr"],
    [1, 1, "/usr"],
  ]);
  expect(lines.filter((line) => !line.startsWith("{"))).toEqual([
    "unshare: unshare failed: Operation not permitted",
    "flatwrap: /usr/bin/probe: user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons",
  ]);
});

it("leaves no mount behind", () => {
  expect(section("mounts")).toBe("0");
});
