import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";
import { bootAndRun, configuredRoot, copyRoot, systemd257 } from "./pack-guest.ts";

const folder = scratch();
let guest: string;
beforeAll(() => {
  guest = copyRoot(systemd257());
});
afterAll(() => rmSync(guest, { recursive: true, force: true }));

/** Debian's nginx, serving a page of its own root: hard links to the cached root, with a few files of ours. */
function nginxRoot(page: string): string {
  const root = join(folder, `root-${page}`);
  sh(`cp -al ${configuredRoot("bookworm", ["nginx-light"])} ${root}`);
  for (const [path, text] of [
    ["usr/share/nginx/html/index.html", `page ${page}\n`],
    ["etc/nginx/sites-available/default", "server { listen 8081; root /usr/share/nginx/html; }\n"],
  ] as const) {
    rmSync(join(root, path));
    writeFileSync(join(root, path), text);
  }
  return root;
}

function wrap(page: string, output: string): void {
  const options = [
    "--quiet",
    "--compression",
    "lz4",
    "--ship-etc",
    "/etc/nginx",
    "--enable",
    "nginx.service",
    "-o",
    output,
  ];
  const run = flixwrap(["flatwrap", ...options, `dir:${nginxRoot(page)}`, "wrapped", "/usr/sbin/nginx"]);
  expect(run.status, run.stderr).toBe(0);
}

test("a booted systemd 257 serves by a wrapped nginx, takes a newer version live, and lets go of it", () => {
  const place = join(guest, "var/lib/extensions");
  mkdirSync(place, { recursive: true });
  wrap("one", join(place, "wrapped.raw"));
  wrap("two", join(folder, "two.raw"));
  copyFileSync(join(folder, "two.raw"), join(guest, "two.raw"));
  const said = bootAndRun(
    guest,
    `
settle() { for i in $(seq 80); do systemctl is-active --quiet nginx && break; sleep 0.1; done; sleep 0.3; }
page() { exec 3<>/dev/tcp/127.0.0.1/8081 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && tail -1 <&3; exec 3>&-; }
settle; systemctl is-active --quiet nginx || journalctl -b --no-pager -u nginx -u wrapped-setup -o cat | grep -v -e setup -e Depend | head -8
ip link set lo up 2>/dev/null
echo "boot $(systemctl is-active nginx) $(page)"
echo "users $(id -nu www-data) etc $(stat -c %U /etc/nginx/nginx.conf) state $(stat -c %U:%G /var/log/nginx) $(stat -c %a /var/lib/nginx)"
echo "as $(for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in */nginx) stat -c %U $p;; esac; done 2>/dev/null | sort -u | tr '\\n' ' ')"
echo "# kept" >>/etc/nginx/nginx.conf
mv /two.raw /var/lib/extensions/wrapped.raw
systemd-sysext refresh 2>/dev/null; systemctl restart nginx; settle
echo "refreshed $(systemctl is-active nginx) $(page) $(tail -1 /etc/nginx/nginx.conf)"
systemd-sysext unmerge 2>/dev/null
systemctl stop nginx 2>/dev/null
echo "left $(ls -d /usr/sbin/nginx /usr/bin/nginx /usr/lib/flixwrap /usr/lib/systemd/system/nginx.service 2>/dev/null | wc -l) overlays $(grep -c ' - overlay sysext' /proc/self/mountinfo) mounts $(grep -c lib/flixwrap /proc/self/mountinfo)"
echo "running $(systemctl is-active nginx)"
`,
  );
  expect(said.trim().split("\n")).toEqual([
    "boot active page one",
    "users www-data etc root state root:adm 755",
    "as root www-data ",
    "refreshed active page two # kept",
    "left 0 overlays 0 mounts 0",
    "running inactive",
  ]);
});
