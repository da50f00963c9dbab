import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { addBubblewrap, makeMuslRoot } from "../support/musl-root.ts";
import { openToAll, stage } from "./flatwrap-world.ts";
import { bootAndRun, copyRoot, systemd257 } from "./pack-guest.ts";

/** The unit's command; `@` is a file of its own. What it says, or for files what is in them then. */
interface Program {
  readonly name: string;
  readonly from: "debian" | "musl";
  readonly path: string;
  readonly args: string;
  readonly says: RegExp;
}
const programs: readonly Program[] = [
  { name: "htop", from: "debian", path: "/usr/bin/htop", args: "--version", says: /^htop 3/ },
  {
    name: "python3",
    from: "debian",
    path: "/usr/bin/python3",
    args: `-c "import os; print(os.getuid(), os.getcwd())"`,
    says: /^(0|1) \/$/,
  },
  { name: "git", from: "debian", path: "/usr/bin/git", args: "init -q --template= @", says: /^HEAD$/m },
  {
    name: "vim",
    from: "debian",
    path: "/usr/bin/vim.tiny",
    args: '-u NONE -es -c "s/^/written/" -c wq @',
    says: /^written$/,
  },
  { name: "nginx", from: "debian", path: "/usr/sbin/nginx", args: "-v", says: /^nginx version/ },
  { name: "busybox", from: "musl", path: "/bin/busybox", args: "id -u", says: /^(0|1)$/ },
  { name: "applet", from: "musl", path: "/bin/cat", args: "/usr/bin/greet", says: /^#!\/bin\/sh\n/ },
  { name: "script", from: "musl", path: "/usr/bin/greet", args: "you", says: /^hello you from \/usr\/bin\/greet$/ },
];
const ways = ["sandbox", "start", "unshare", "bwrap"];
const users = ["root", "daemon"];
const cells = programs.flatMap((program) =>
  ways.flatMap((way) => users.map((who) => ({ program, way, who, unit: `t-${program.name}-${way}-${who}` }))),
);

// Beside the roots of other tests, so that their files can be linked to instead of copied.
const folder = openToAll(mkdtempSync(join(tmpdir(), "flixwrap-services-")));
let guest: string;
let said: string;

beforeAll(async () => {
  guest = copyRoot(systemd257());
  addBubblewrap(guest);
  const debian = debianRoot([
    "htop",
    "python3-minimal",
    "git",
    "nginx-light",
    "vim-tiny",
    "perl-base",
    "dash",
    "ncurses-base",
  ]);
  execFileSync("cp", ["-al", debian, join(folder, "debian")]);
  makeMuslRoot(join(folder, "musl"));
  writeFileSync(join(folder, "musl/usr/bin/greet"), '#!/bin/sh\necho "hello $1 from $0"\n', { mode: 0o755 });
  for (const from of ["debian", "musl"] as const) {
    const place = "usr/lib/systemd/system";
    const mine = cells.filter(({ program }) => program.from === from);
    for (const cell of mine) {
      const { program, way, who, unit } = cell;
      const { path, args } = program;
      const file = `/var/tmp/${unit}`;
      const called = way === "sandbox" ? path : `/usr/bin/w-${program.name}`;
      const lines = [
        ...["[Service]", "Type=oneshot", `User=${who}`, `Environment=FLATWRAP_VIA=${way}`],
        ...[`ExecStart=${called} ${args.replaceAll("@", file)}`, `StandardOutput=file:/run/${unit}.said`],
        `StandardError=file:/run/${unit}.said`,
      ];
      // What runs by systemd's sandbox comes out of the image with its drop-in, the rest is the host's own.
      const at = join(way === "sandbox" ? join(folder, from) : guest, place, `${unit}.service`);
      mkdirSync(dirname(at), { recursive: true });
      writeFileSync(at, `${lines.join("\n")}\n`);
    }
    const units = mine.filter(({ way }) => way === "sandbox").map(({ unit }) => `/${place}/${unit}.service`);
    const entries = programs
      .filter((program) => program.from === from)
      .map(({ name, path }) => `${path}:/usr/bin/w-${name}`);
    const exclude = ["/usr/share/{doc,man,locale,perl}/**"];
    const extension = join(guest, "var/lib/extensions", from);
    mkdirSync(dirname(extension), { recursive: true });
    await stage(join(folder, from), extension, [...entries, ...units], { exclude }, from);
    mkdirSync(join(extension, "usr/lib/extension-release.d"), { recursive: true });
    writeFileSync(join(extension, `usr/lib/extension-release.d/extension-release.${from}`), "ID=_any\n");
  }
  said = bootAndRun(
    guest,
    `cd /
systemctl start ${cells.map(({ unit }) => `${unit}.service`).join(" ")}
for unit in ${cells.map(({ unit }) => unit).join(" ")}; do
  echo "== $unit"; systemctl show -p Result --value $unit.service
  cat /run/$unit.said; if [ -d /var/tmp/$unit ]; then ls /var/tmp/$unit/.git; elif [ -f /var/tmp/$unit ]; then cat /var/tmp/$unit; fi
  [ ! -e /var/tmp/$unit ] || echo "owner $(stat -c %U /var/tmp/$unit)"
done
echo "== end"; grep -c lib/flixwrap /proc/self/mountinfo
`,
  );
}, 120_000);

afterAll(() => {
  for (const place of [guest, folder]) rmSync(place, { recursive: true, force: true });
});

describe.each(programs)("$name as a service of a merged extension under a booted systemd 257", ({ name, says }) => {
  it.each(cells.filter(({ program }) => program.name === name))("$way, $who", ({ unit, who }) => {
    const [, text] = said.split(`== ${unit}\n`);
    const [result, ...lines] = text!.split("\n== ")[0]!.split("\n");
    expect(result, lines.join("\n")).toBe("success");
    const owner = lines.at(-1)?.startsWith("owner ") ? lines.pop() : undefined;
    expect(lines.join("\n")).toMatch(says);
    if (owner !== undefined) expect(owner).toBe(`owner ${who}`);
  });
});

it("leaves no mount behind", () => {
  expect(said).toMatch(/== end\n0\n$/);
});
