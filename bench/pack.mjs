// Times packing against the packer's own tool on the same ready folder, interleaved, in one run: the step alone
// (tree to image, digest included), and the CPU time of both.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planFolder } from "../dist/extension/folder-plan.js";
import { planRelease } from "../dist/extension/release.js";
import { buildTree } from "../dist/extension/tree.js";
import { openFolder } from "../dist/oci/folder-rootfs.js";
import { packTree } from "../dist/pack/pack.js";

const [source, rounds = "3"] = process.argv.slice(2);
if (source === undefined) throw new Error("usage: node bench/pack.mjs FOLDER-WITH-usr [ROUNDS]");
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
const shell = (script) => spawnSync("bash", ["-ec", script], { cwd: work, encoding: "utf8" });
const context = { signal: new AbortController().signal, env: process.env, emit: () => undefined };
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

try {
  shell(
    `mkdir tree; cp -a "${source}/usr" tree/; chown -hR 0:0 tree; find tree -type f -perm /6000 -exec chmod ug-s {} +`,
  );
  const plan = planFolder(openFolder(join(work, "tree")));
  const release = planRelease({ name: "bench", notes: { FLIXWRAP_VERSION: "0" } });
  const tree = buildTree({ ...plan, actions: [...plan.actions, release] }, { name: "bench" });
  const quiet = "-all-root -noappend -quiet -no-progress";
  const rows = [
    ["squashfs zstd", { format: "squashfs" }, `mksquashfs tree theirs.raw -comp zstd ${quiet}`],
    ["squashfs lz4", { format: "squashfs", compression: "lz4" }, `mksquashfs tree theirs.raw -comp lz4 ${quiet}`],
    ["erofs lz4hc,12", { format: "erofs" }, "mkfs.erofs --quiet -zlz4hc,12 -T0 --all-root theirs.raw tree"],
  ];
  for (const [what, request, theirs] of rows) {
    const times = { ours: [], theirs: [] };
    const output = join(work, "ours.raw");
    for (let round = 0; round < Number(rounds); round++) {
      for (const path of [output, join(work, "theirs.raw")]) rmSync(path, { force: true });
      let started = performance.now();
      await packTree(tree, { ...request, output }, context);
      times.ours.push((performance.now() - started) / 1000);
      started = performance.now();
      const { status, stderr } = shell(theirs);
      if (status !== 0) throw new Error(stderr);
      times.theirs.push((performance.now() - started) / 1000);
    }
    const [a, b] = [median(times.ours), median(times.theirs)];
    const sizes = ["ours", "theirs"].map((who) => `${(statSync(join(work, `${who}.raw`)).size / 1e6).toFixed(1)} MB`);
    console.log(
      `${what}: ${a.toFixed(2)} s, tool by hand ${b.toFixed(2)} s, ratio ${(a / b).toFixed(3)}; ${sizes.join(" and ")}`,
    );
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
