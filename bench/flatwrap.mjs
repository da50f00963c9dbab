// Times the start of a program through Flatwrap's wrapper against the bare tools and against a wrapper that mounts path
// by path (bench/reference-flatwrap.sh): all interleaved, in one run. Rows for root need root; `node bench/flatwrap.mjs 50`.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const rounds = Number(process.argv[2] ?? 50);
const here = new URL(".", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
chmodSync(work, 0o755);
try {
  const root = join(work, "root");
  for (const folder of ["dev", "etc", "home", "proc", "run", "sys", "tmp", "var"])
    mkdirSync(join(root, folder), { recursive: true });
  const libraries = execFileSync("ldd", ["/usr/bin/true"], { encoding: "utf8" }).match(/\/[^\s]+/g) ?? [];
  for (const path of ["/usr/bin/true", ...libraries]) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
  const tree = join(work, "tree");
  const main = join(here, "../dist/program/main.cjs");
  execFileSync("node", [
    main,
    "flatwrap",
    "--quiet",
    "--format",
    "dir",
    "-o",
    tree,
    `dir:${root}`,
    "bench",
    "/usr/bin/true",
  ]);
  execFileSync("chmod", ["-R", "a+rX", tree]);
  const view = join(work, "view");
  mkdirSync(view);

  const ours = join(tree, "usr/bin/true");
  const reference = [join(here, "reference-flatwrap.sh"), root, view, "/usr/bin/true"];
  const bwrap = ["bwrap", "--bind", "/", "/", "true"];
  // Who, what, command, environment, and the row that it is compared with.
  const asRoot = [
    ["root", "unshare -m true", ["unshare", "-m", "true"], {}],
    ["root", "one mount per path", reference, {}, "unshare -m true"],
    ["root", "flatwrap", [ours], {}, "unshare -m true"],
    ["root", "flatwrap by unshare", [ours], { FLATWRAP_VIA: "unshare" }, "unshare -m true"],
    ["root", "bwrap --bind / / true", bwrap, {}],
    ["root", "flatwrap by bwrap", [ours], { FLATWRAP_VIA: "bwrap" }, "bwrap --bind / / true"],
  ];
  const asUser = [
    ["user", "unshare -U -r -m true", ["unshare", "-U", "-r", "-m", "true"], {}],
    ["user", "one mount per path", reference, {}, "unshare -U -r -m true"],
    ["user", "flatwrap", [ours], {}, "unshare -U -r -m true"],
    ["user", "flatwrap by unshare", [ours], { FLATWRAP_VIA: "unshare" }, "unshare -U -r -m true"],
    ["user", "bwrap --bind / / true", bwrap, {}],
    ["user", "flatwrap by bwrap", [ours], { FLATWRAP_VIA: "bwrap" }, "bwrap --bind / / true"],
  ];
  const isRoot = process.getuid() === 0;
  const rows = [...(isRoot ? asRoot : []), ...asUser];
  const times = rows.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, [who, what, [tool, ...args], env]] of rows.entries()) {
      const identity = who === "user" && isRoot ? { uid: 1501, gid: 2502 } : {};
      const start = process.hrtime.bigint();
      const { status, stderr } = spawnSync(tool, args, {
        ...identity,
        cwd: "/tmp",
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", FLATWRAP_ROOT: tree, ...env },
        stdio: ["ignore", "ignore", "pipe"],
      });
      times[index].push(Number(process.hrtime.bigint() - start) / 1e6);
      if (status !== 0) throw new Error(`${who}, ${what}: ${stderr}`);
    }
  }
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  console.log(`start of \`true\`, median of ${rounds} interleaved rounds, milliseconds`);
  for (const [index, [who, what, , , base]] of rows.entries()) {
    const time = median(times[index]);
    const bare = rows.findIndex(([other, name]) => other === who && name === base);
    const ratio = bare < 0 ? "" : `${(time / median(times[bare])).toFixed(1)} times ${base}`;
    console.log(`${who}  ${what.padEnd(24)} ${time.toFixed(2).padStart(7)}  ${ratio}`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
