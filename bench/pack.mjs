// Times `flixwrap pack FOLDER NAME` (all of it: the folder read, checks, bills of materials, digest) and its packing
// step alone against the packer's own tool on the same ready folder: interleaved, the best of several rounds, wall
// time and the CPU time of both with all their children.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// A whole system is no extension: what checks find wrong with it is let pass, but looked for.
const passed =
  "shadowed-link host-loader host-library elf-interpreter elf-library os-release folder-closed link-outside world-writable outside name link-loop";
const [source, rounds = "3", only] = process.argv.slice(2);
if (source === undefined) throw new Error("usage: node bench/pack.mjs FOLDER-WITH-usr [ROUNDS [FORMAT]]");
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
const dist = new URL("../dist/", import.meta.url).pathname;
const sh = (script) => {
  const { status, stdout, stderr } = spawnSync("bash", ["-ec", script], { cwd: work, encoding: "utf8" });
  if (status !== 0) throw new Error(`${script}\n${stdout}${stderr}`);
  return stdout;
};

/** Seconds of a command: wall, and CPU of it and its children. */
function time(command) {
  sh(
    `rm -f ours.raw theirs.raw; sync; TIMEFORMAT='%R %U %S'; { time ${command} >/dev/null 2>said; } 2>times || { cat said; false; }`,
  );
  const [wall, user, system] = readFileSync(join(work, "times"), "utf8").trim().split(" ").map(Number);
  return { wall, cpu: user + system };
}

/** The step alone; it prints its own seconds, since Node's start and the folder's reading are no part of it. */
const step = `
import { planFolder } from "${dist}extension/folder-plan.js";
import { planRelease } from "${dist}extension/release.js";
import { buildTree } from "${dist}extension/tree.js";
import { openFolder } from "${dist}oci/folder-rootfs.js";
import { packTree } from "${dist}pack/pack.js";
const context = { signal: new AbortController().signal, env: process.env, emit: () => undefined };
const plan = planFolder(openFolder("tree", context));
const release = planRelease({ name: "bench", notes: { FLIXWRAP_VERSION: "0" } });
const tree = buildTree({ ...plan, actions: [...plan.actions, release] }, { name: "bench" });
const started = performance.now();
await packTree(tree, { ...JSON.parse(process.argv[2]), output: "ours.raw" }, context);
console.log((performance.now() - started) / 1000);
`;

try {
  sh(
    `mkdir tree; cp -a "${source}/usr" tree/; chown -hR 0:0 tree; find tree -type f -perm /6000 -exec chmod ug-s {} +; cat $(find tree -type f | head -20000) >/dev/null || true`,
  );
  writeFileSync(join(work, "step.mjs"), step);
  const quiet = "-all-root -noappend -quiet -no-progress";
  const rows = [
    ["squashfs zstd", { format: "squashfs" }, `mksquashfs tree theirs.raw -comp zstd ${quiet}`],
    ["squashfs lz4", { format: "squashfs", compression: "lz4" }, `mksquashfs tree theirs.raw -comp lz4 ${quiet}`],
    ["erofs lz4hc,12", { format: "erofs" }, "mkfs.erofs --quiet -zlz4hc,12 -T0 --all-root theirs.raw tree"],
  ].filter(([what]) => only === undefined || what.includes(only));
  console.log(
    `${sh("find tree -type f | wc -l").trim()} files, ${sh("du -sm --apparent-size tree | cut -f1").trim()} MB, best of ${rounds}`,
  );
  for (const [what, request, theirs] of rows) {
    const best = {};
    const keep = (who, { wall, cpu }) => {
      best[who] = { wall: Math.min(wall, best[who]?.wall ?? wall), cpu: Math.min(cpu, best[who]?.cpu ?? cpu) };
    };
    const options = [
      ...Object.entries(request).map(([key, value]) => `--${key} ${value}`),
      ...passed.split(" ").map((rule) => `--no-check ${rule}`),
    ];
    const pack = `node ${dist}program/main.cjs pack -q ${options.join(" ")} -o ours.raw tree bench`;
    let sizes = [];
    for (let round = 0; round < Number(rounds); round++) {
      keep("tool", time(theirs));
      sizes = [statSync(join(work, "theirs.raw")).size];
      keep("command", time(`{ ${pack}; }`));
      sizes.push(statSync(join(work, "ours.raw")).size);
      sh("rm -f ours.raw");
      const alone = Number(sh(`node step.mjs '${JSON.stringify(request)}'`));
      keep("step", { wall: alone, cpu: 0 });
    }
    const { tool, command, step: alone } = best;
    const told = (seconds) => `${seconds.toFixed(2)} s`;
    console.log(
      `${what}: tool ${told(tool.wall)} (CPU ${told(tool.cpu)}); pack step ${told(alone.wall)}, ratio ${(alone.wall / tool.wall).toFixed(3)}; ` +
        `whole command ${told(command.wall)} (CPU ${told(command.cpu)}), ratio ${(command.wall / tool.wall).toFixed(3)} (CPU ${(command.cpu / tool.cpu).toFixed(3)}); ` +
        sizes.map((size) => `${(size / 1e6).toFixed(1)} MB`).join(" and "),
    );
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
