// Times `flixwrap pack` against the packer's own tool on the same ready folder, interleaved, in one run.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [source, rounds = "3"] = process.argv.slice(2);
if (source === undefined) throw new Error("usage: node bench/pack.mjs FOLDER-WITH-usr [ROUNDS]");
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
const run = (command) => execFileSync("bash", ["-ec", command], { cwd: work, stdio: ["ignore", "pipe", "pipe"] });
try {
  cpSync(join(source, "usr"), join(work, "tree/usr"), { recursive: true, verbatimSymlinks: true });
  const pack = (format, more = "") =>
    `node ${main} pack --quiet --no-papers --allow-suid $SKIP --format ${format} ${more} -o ours.raw tree bench`;
  const skip =
    "outside os-release host-loader host-library shadowed-link link-outside link-dangling world-writable elf-library elf-interpreter elf-architecture unit-program-moved folder-closed link-loop";
  process.env.SKIP = skip
    .split(" ")
    .map((rule) => `--no-check ${rule}`)
    .join(" ");
  const rows = [
    [
      "squashfs zstd",
      pack("squashfs"),
      "mksquashfs tree theirs.raw -comp zstd -all-root -noappend -quiet -no-progress",
    ],
    [
      "squashfs lz4",
      pack("squashfs", "--compression lz4"),
      "mksquashfs tree theirs.raw -comp lz4 -all-root -noappend -quiet -no-progress",
    ],
    ["erofs lz4hc,12", pack("erofs"), "mkfs.erofs --quiet -zlz4hc,12 -T0 --all-root theirs.raw tree"],
  ];
  for (const [what, ours, theirs] of rows) {
    const times = { ours: [], theirs: [] };
    for (let round = 0; round < Number(rounds); round++)
      for (const [who, command] of [
        ["ours", ours],
        ["theirs", theirs],
      ]) {
        rmSync(join(work, `${who}.raw`), { force: true });
        const started = performance.now();
        run(command);
        times[who].push((performance.now() - started) / 1000);
      }
    const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
    const [a, b] = [median(times.ours), median(times.theirs)];
    const sizes = ["ours", "theirs"].map((who) => `${(statSync(join(work, `${who}.raw`)).size / 1e6).toFixed(1)} MB`);
    console.log(
      `${what}: pack ${a.toFixed(2)} s, tool by hand ${b.toFixed(2)} s, ${(a / b).toFixed(3)}; ${sizes.join(" and ")}`,
    );
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
