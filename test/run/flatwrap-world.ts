import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { readTemplate } from "../../src/host/templates.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { stageTree } from "../../src/pack/stage.ts";
import { parseEntry } from "../../src/wrap/entry.ts";
import { planFlatwrap } from "../../src/wrap/flatwrap.ts";
import {
  parseFlatwrapOptions,
  type RawFlatwrapOptions,
  readFlatwrapTemplates,
} from "../../src/wrap/flatwrap/options.ts";

/** A way to run wrappers on this machine; each behaviour is tested in every one. */
export interface Mode {
  readonly name: string;
  /** Words before the command. */
  readonly prefix: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly via: "start" | "unshare" | "bwrap";
  readonly isUser: boolean;
}

/** A caller whose uid is not its gid, with two more groups. */
export const user = { uid: 1501, gid: 2502, groups: [4, 24] };
const asUser =
  process.getuid?.() === 0
    ? `setpriv --reuid ${user.uid} --regid ${user.gid} --groups ${user.groups.join(",")}`.split(" ")
    : [];

const ways = ["start", "unshare", "bwrap"] as const;
const modesOf = (who: "root" | "user", prefix: readonly string[]): Mode[] =>
  ways.map((via) => ({ name: `${who}, ${via}`, prefix, env: { FLATWRAP_VIA: via }, via, isUser: who === "user" }));
export const modes: readonly Mode[] = [
  ...(process.getuid?.() === 0 ? modesOf("root", []) : []),
  ...modesOf("user", asUser),
];

/** Compiles one of the C files beside this one. */
export function compile(name: string, to: string, ...flags: readonly string[]): void {
  mkdirSync(dirname(to), { recursive: true });
  const source = new URL(`flatwrap-${name}.c`, import.meta.url).pathname;
  execFileSync("gcc", ["-Wall", "-O1", "-o", to, source, ...flags]);
}

/** A glibc root that holds the probe and nothing else: a link to it, a script for it, data, a config, a unit. */
export function makeRoot(root: string): void {
  compile("probe", join(root, "usr/bin/probe"));
  const libraries = execFileSync("ldd", [join(root, "usr/bin/probe")], { encoding: "utf8" });
  for (const [path] of libraries.matchAll(/\/[^\s]+/g)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    // Follows the loader's link; cpSync of Node 24.21 takes it for a folder.
    copyFileSync(path, join(root, path));
  }
  for (const folder of ["etc", "tmp", "var/lib", "usr/share/probe", "home"])
    mkdirSync(join(root, folder), { recursive: true });
  symlinkSync("usr/bin", join(root, "bin"));
  symlinkSync("probe", join(root, "usr/bin/applet"));
  writeFileSync(join(root, "usr/bin/script"), "#!/bin/probe\n", { mode: 0o755 });
  writeFileSync(join(root, "etc/own"), "own");
  execFileSync("ldconfig", ["-r", root], { stdio: "ignore" });
  writeFileSync(join(root, "usr/share/probe/data"), "data");
}

/** Plans and stages an extension; the returned folder serves as FLATWRAP_ROOT. */
export async function stage(
  root: string,
  out: string,
  entries: readonly string[],
  options: RawFlatwrapOptions = {},
  name = "probe",
): Promise<string> {
  const templates = readFlatwrapTemplates(readTemplate);
  const plan = planFlatwrap(
    openFolder(root),
    entries.map(parseEntry),
    parseFlatwrapOptions(options, { name, prefix: extPath("/usr/lib/flixwrap"), templates }),
  );
  await stageTree(buildTree(plan, { name }), out, 0, quietContext());
  return out;
}

/** What `flatwrap-probe.c` says about its start; texts are decoded. */
export interface Report {
  readonly argv: readonly string[];
  readonly environ: readonly string[];
  readonly cwd: string;
  readonly pid: number;
  readonly uid: readonly number[];
  readonly gid: readonly number[];
  readonly groups: readonly number[];
  readonly files: readonly number[];
  readonly tty: number;
  readonly rows: number;
  readonly columns: number;
  readonly ttyname: string;
}

const decode = (hex: string): string => Buffer.from(hex, "hex").toString("latin1");

export function readReport(text: string): Report {
  const raw = JSON.parse(text.slice(text.indexOf("{"))) as Report;
  return { ...raw, argv: raw.argv.map(decode), environ: raw.environ.map(decode).toSorted(), cwd: decode(raw.cwd) };
}

export interface Ran {
  readonly pid: number;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in a mode with an environment of its own. */
export function runIn(
  mode: Pick<Mode, "prefix" | "env">,
  command: readonly string[],
  { cwd = "/tmp", env = {}, input = "" }: { cwd?: string; env?: Record<string, string>; input?: string | Buffer } = {},
): Ran {
  const [tool, ...args] = [...mode.prefix, ...command];
  const { pid, status, signal, stdout, stderr } = spawnSync(tool!, args, {
    cwd,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env, ...mode.env },
    input,
    maxBuffer: 1 << 28,
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  return { pid, status, signal, stdout: stdout.toString("latin1"), stderr: stderr.toString() };
}

/** Running processes that have `word` in their command line. */
export function processesOf(word: string): readonly number[] {
  return readdirSync("/proc").flatMap((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(word) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** A folder that every user may enter. */
export function openToAll(folder: string): string {
  chmodSync(folder, 0o755);
  return folder;
}
