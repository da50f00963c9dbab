/**
 * Every program of a root, what its own loader maps for it (LD_TRACE_LOADED_OBJECTS, chroot-ed; root only) against what
 * our resolver finds, file by file in load order.
 *
 *     npm run build && node test/corpus/loader-root.mjs ROOT [--step 1]
 *
 * A root of Debian's packages serves when ldconfig has run in it: mmdebstrap --variant=extract --include=… && chroot ROOT ldconfig
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

const dist = process.env.FLIXWRAP_DIST ?? new URL("../../dist", import.meta.url).pathname;
const { isElf, readElf } = await import(`${dist}/elf/index.js`);
const { resolveClosure } = await import(`${dist}/loader/index.js`);
const { openFolder } = await import(`${dist}/oci/folder-rootfs.js`);

const { values, positionals } = parseArgs({
  options: { step: { type: "string", default: "1" } },
  allowPositionals: true,
});
const root = realpathSync(positionals[0]);
const rootfs = openFolder(root);
const programs = [];
for (const node of rootfs.walk("/")) {
  if (node.type !== "file" || !isElf(rootfs.open(node))) continue;
  const elf = tryTo(() => readElf(rootfs.open(node), node.path));
  if (
    elf?.interpreter !== undefined &&
    elf.soname === undefined &&
    elf.needed.length > 0 &&
    rootfs.resolve(elf.interpreter)
  )
    programs.push({ node, elf });
}
mkdirSync(join(root, "proc"), { recursive: true });
execFileSync("mount", ["--bind", "/proc", join(root, "proc")]);

try {
  const chosen = programs.filter((_, at) => at % Number(values.step) === 0);
  const differing = [];
  let objects = 0;
  let incomplete = 0;
  for (const { node, elf } of chosen) {
    const live = trace(node, elf.interpreter);
    const closure = resolveClosure(rootfs, [node.path], { dlopen: "none" });
    const loader = closure.processes[0]?.loader;
    const ours = [
      ...(closure.processes[0]?.objects.slice(1) ?? []).filter((path) => path !== loader),
      ...new Set(closure.missing.map(({ name }) => `${name} not found`)),
    ];
    const theirs = live.filter((path) => path !== loader);
    objects += theirs.length;
    if (theirs.some((path) => path.endsWith(" not found"))) incomplete++;
    if (ours.filter(isFound).join() === theirs.filter(isFound).join() && sorted(ours) === sorted(theirs)) continue;
    differing.push(node.path);
    console.log(
      `${node.path}\n  theirs, not ours: ${without(theirs, ours)}\n  ours, not theirs: ${without(ours, theirs)}`,
    );
  }
  console.log(
    `${chosen.length - differing.length} of ${chosen.length} programs the same (${objects} objects; ` +
      `${incomplete} programs lack a library in this root, the same ones for both)`,
  );
  process.exitCode = differing.length === 0 ? 0 : 1;
} finally {
  execFileSync("umount", [join(root, "proc")]);
}

function isFound(line) {
  return line.startsWith("/");
}

function sorted(lines) {
  return lines.toSorted().join();
}

function without(some, others) {
  return some.filter((one) => !others.includes(one)).join(", ") || "the order";
}

function tryTo(read) {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Real paths in load order, then `NAME not found` lines. */
function trace({ path, mode }, interpreter) {
  // The variable is set inside the root: chroot(1) itself shall run. Tracing, unlike --list, goes on after a miss; but
  // setuid and setgid programs pass the variable over, and run.
  const command =
    interpreter.includes("musl") || (mode & 0o6000) !== 0
      ? [interpreter, "--list", path]
      : ["/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", path];
  const { stdout } = spawnSync("chroot", [root, ...command], { encoding: "utf8", env: { PATH: "/usr/sbin:/usr/bin" } });
  const found = [...stdout.matchAll(/^\t(?:\S+ => )?(\/.+?) \(0x/gm)].map(([, opened]) => rootfs.resolve(opened).path);
  const missing = [...stdout.matchAll(/^\t(\S+) => not found$/gm)].map(([, name]) => `${name} not found`);
  return [...found, ...new Set(missing)];
}
