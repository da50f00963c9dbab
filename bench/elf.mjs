/**
 * The ELF engine beside patchelf, readelf and lddtree, on this machine's own files; all in one run, told as ratios of the time
 * on the clock and of the processors' time, own and children's, which neighbours disturb less.
 * Needs Debian's patchelf, binutils and pax-utils. PATCHELF names another patchelf.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFile } from "../dist/cli/elf/open-file.js";
import { savePatch } from "../dist/cli/elf/save-patch.js";
import { planEdits, readElf } from "../dist/elf/index.js";
import { listElfFiles, sample } from "../test/corpus/elf-files.mjs";

const patchelf = process.env.PATCHELF ?? "patchelf";
const folder = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
const main = new URL("../dist/program/main.cjs", import.meta.url).pathname;
const edits = {
  interpreter: "/usr/local/NAME/ld-linux-x86-64.so.2",
  runPath: { kind: "runpath", value: "/usr/local/NAME:/usr/local/NAME/extralibs" },
  noDefaultLib: true,
};

try {
  const all = listElfFiles(["/usr"], { largest: Infinity });
  edit(
    sample(listElfFiles(["/usr"]), 5000, 1)
      .filter((path) => read(path, (elf) => elf.isDynamic && elf.needed.length > 0))
      .slice(0, 1000),
  );
  scan(all);
  start();
  memory(all);
} finally {
  rmSync(folder, { recursive: true });
}

function read(path, use) {
  const file = openFile(path);
  try {
    return use(readElf(file.source, path));
  } catch {
    return undefined;
  } finally {
    file.close();
  }
}

/** Milliseconds on the clock and of the processors (proc(5): utime, stime, cutime, cstime in hundredths of a second). */
function time(work) {
  const processors = () =>
    readFileSync("/proc/self/stat", "utf8")
      .split(") ")[1]
      .split(" ")
      .slice(11, 15)
      .reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
  const [begin, before] = [performance.now(), processors()];
  work();
  return { clock: performance.now() - begin, cpu: processors() - before };
}

function say(what, { clock, cpu }, base) {
  const ratio =
    base === undefined ? "" : `   ${(clock / base.clock).toFixed(1)} / ${(cpu / base.cpu).toFixed(1)} times ours`;
  console.log(`${what.padEnd(66)} ${clock.toFixed(0).padStart(7)} ms, cpu ${cpu.toFixed(0).padStart(6)} ms${ratio}`);
}

/** 1,000 files: interpreter, run path and NODEFLIB, each in place, on copies that are made before the clock runs. */
function edit(files) {
  const copy = (path, index) => {
    const goal = join(folder, String(index));
    copyFileSync(path, goal);
    return goal;
  };
  const tolerate = (work) => {
    try {
      work();
      return 0;
    } catch {
      return 1;
    }
  };
  let refused = 0;
  let copies = [];
  const inPlace = () => {
    copies = files.map(copy);
    refused = 0;
    return time(() => {
      for (const path of copies) refused += tolerate(() => writeInPlace(path, read(path, plan)));
    });
  };
  const ours = inPlace();
  const warm = inPlace();
  copies = files.map(copy);
  const safe = time(() => {
    for (const path of copies) tolerate(() => savePatch(path, read(path, plan)));
  });
  copies = files.map(copy);
  const programs = copies.map((path) => read(path, (elf) => elf.interpreter !== undefined));
  let failed = 0;
  const theirs = time(() => {
    for (const [index, path] of copies.entries()) {
      const interpreter = programs[index] ? ["--set-interpreter", edits.interpreter] : [];
      const { status } = spawnSync(
        patchelf,
        [...interpreter, "--set-rpath", edits.runPath.value, "--no-default-lib", path],
        { stdio: "ignore" },
      );
      if (status !== 0) failed++;
    }
  });
  say(`edit ${files.length} files in process, in place (${refused} refused)`, ours);
  say("the same in a process that has done so before", warm, ours);
  say("the same through a temporary file, fsync, attributes, rename", safe, ours);
  say(`${files.length} calls of ${patchelf} (${failed} failed)`, theirs, ours);
}

function plan(elf) {
  const { interpreter, ...rest } = edits;
  return planEdits(elf, elf.interpreter === undefined ? rest : { ...rest, interpreter });
}

function writeInPlace(path, { writes, size }) {
  const file = openSync(path, "r+");
  for (const { offset, bytes } of writes) writeSync(file, bytes, 0, bytes.length, offset);
  if (size !== statSync(path).size) ftruncateSync(file, size);
  closeSync(file);
}

/** The dynamic tables of all dynamic files of /usr. */
function scan(files) {
  let needed = 0;
  const ours = time(() => {
    for (const path of files) needed += read(path, (elf) => elf.needed.length) ?? 0;
  });
  const readelf = time(() =>
    execFileSync("xargs", ["-d", "\n", "readelf", "-dW"], {
      input: files.join("\n"),
      stdio: ["pipe", "ignore", "ignore"],
      maxBuffer: 1 << 30,
    }),
  );
  const programs = files.filter((path) => path.startsWith("/usr/bin/")).slice(0, 100);
  const lddtree = time(() =>
    execFileSync("/usr/bin/python3", ["/usr/bin/lddtree", "-l", ...programs], { stdio: "ignore" }),
  );
  say(`dynamic tables of ${files.length} files (${needed} needed libraries)`, ours);
  say("readelf -d, one process for all", readelf, ours);
  say(`lddtree on ${programs.length} of them`, lddtree, ours);
}

/** What a script pays for one call: best and median of 30, in turns. */
function start() {
  const copy = join(folder, "start");
  copyFileSync("/usr/bin/env", copy);
  const goal = join(folder, "goal");
  const calls = [
    ["bare node", process.execPath, "-e", "0"],
    ["flixwrap patchelf --print-rpath", process.execPath, main, "patchelf", "--print-rpath", copy],
    ["flixwrap patchelf --set-rpath", process.execPath, main, "patchelf", "--set-rpath", "/a", "--output", goal, copy],
    ["flixwrap --help", process.execPath, main, "--help"],
    [`${patchelf} --print-rpath`, patchelf, "--print-rpath", copy],
  ].map(([what, command, ...args]) => ({ what, command, args, times: [] }));
  for (let round = 0; round < 30; round++) {
    for (const { command, args, times } of calls)
      times.push(time(() => spawnSync(command, args, { stdio: "ignore" })).clock);
  }
  for (const { what, times } of calls) {
    times.sort((a, b) => a - b);
    console.log(`start of ${what}: best ${times[0].toFixed(1)} ms, median ${times[15].toFixed(1)} ms`);
  }
}

/** Peak memory while the largest file is edited, in a process of its own. */
function memory(files) {
  const largest = files.reduce((most, path) => (statSync(path).size > statSync(most).size ? path : most));
  const peak = (...args) => {
    const { stderr } = spawnSync("/usr/bin/time", ["-f", "%M", process.execPath, ...args], { encoding: "utf8" });
    return Number(stderr.trim().split("\n").at(-1)) / 1024;
  };
  const bare = peak("-e", "0");
  const used = peak(main, "patchelf", "--set-rpath", "/a/b/c", "--output", join(folder, "largest"), largest);
  const size = readFileSync(largest).length / 1048576;
  console.log(
    `peak memory editing ${largest} (${size.toFixed(0)} MiB): ${used.toFixed(0)} MiB, bare node ${bare.toFixed(0)} MiB`,
  );
}
