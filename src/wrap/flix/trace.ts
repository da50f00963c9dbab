import { decodeName } from "../../core/names.ts";
import { isWithin, parentOf, rootPath, type RootPath } from "../../core/paths.ts";
import { isElf } from "../../elf/index.ts";
import type { Plan } from "../../extension/plan.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";

/** How strace is asked, so that {@link readTraceLine} understands it: opened files by their real paths, names in hex. */
export const traceOptions = ["-f", "-qq", "-y", "-xx", "-s", "4096", "-e", "trace=open,openat,execve", "-z"];

/** What one line of strace's log tells: a program that was started, or a file that was opened; undefined for the rest. */
export function readTraceLine(
  line: string,
): { readonly kind: "started" | "opened"; readonly path: string } | undefined {
  const started = /\bexecve\("((?:\\x[0-9a-f]{2})+)"/.exec(line)?.[1];
  if (started !== undefined) return { kind: "started", path: unescape(started) };
  const opened = /\bopen(?:at)?\(.* = \d+<((?:\\x[0-9a-f]{2}|[^\\>])+)>$/.exec(line)?.[1];
  return opened === undefined ? undefined : { kind: "opened", path: unescape(opened) };
}

const unescape = (text: string): string =>
  decodeName(
    Buffer.from(
      text.replaceAll(/\\x([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16))),
      "latin1",
    ),
  );

/** More files than these of one program's folder are told as the folder. */
const mostFiles = 3;

/**
 * What to add to the command line so that the plan has the files that a run opened in its root: one line each, words of
 * the command line first. Files of the running system (/proc, /dev) and those that every host has for itself are left out.
 */
export function findAdditions(rootfs: Rootfs, plan: Plan, paths: readonly string[]): readonly string[] {
  const taken = new Set(plan.actions.flatMap((action) => ("from" in action ? [action.from.identity] : [])));
  const places = new Set<string>(plan.actions.map(({ to }) => to));
  const lacking = new Map<string, RootNode>();
  for (const path of paths) {
    if (!path.startsWith("/") || passing.some((folder) => isWithin(path, folder))) continue;
    const node = rootfs.resolve(rootPath(path));
    if (node?.type !== "file" || taken.has(node.identity) || places.has(node.path)) continue;
    lacking.set(node.identity, node);
  }
  // Where the loader found what stands in the private folder now.
  const searched = new Set(
    plan.actions.flatMap((one) =>
      "from" in one && (one.to as string) !== one.from.path ? [parentOf(one.from.path)] : [],
    ),
  );
  const groups = new Map<RootPath, RootNode[]>();
  const single: RootNode[] = [];
  for (const node of lacking.values()) {
    const folder = unitOf(node.path);
    if (folder === undefined) single.push(node);
    else groups.set(folder, [...(groups.get(folder) ?? []), node]);
  }
  const few = [...groups.values()].filter((nodes) => nodes.length <= mostFiles).flat();
  const many = [...groups].filter(([, nodes]) => nodes.length > mostFiles);
  return [
    ...[...single, ...few].map((node) => wordFile(rootfs, node, searched)),
    ...many.map(([folder, nodes]) => `${folder} (${nodes.length} files of it)`),
  ];
}

/** `/usr/share/zoneinfo`, `/usr/lib/TRIPLET/perl-base`: the folder that one program or package has for its own. */
const unitOf = (path: RootPath): RootPath | undefined => {
  const [folder] =
    /^\/usr\/(?:local\/)?(?:lib\w*|share)\/(?:\w+-linux-\w+\/|(?!\w+-linux-\w+\/))[^/]+(?=\/)/.exec(path) ?? [];
  return folder === undefined ? undefined : rootPath(folder);
};

/** Of the running system, or the host's own wherever the program runs. */
const passing = [
  ...["/proc", "/sys", "/dev", "/run", "/tmp"],
  ...[
    "ld.so.cache",
    "ld.so.preload",
    "passwd",
    "group",
    "shadow",
    "nsswitch.conf",
    "host.conf",
    "hosts",
    "resolv.conf",
  ].map((name) => `/etc/${name}`),
  ...["gai.conf", "localtime", "services", "protocols"].map((name) => `/etc/${name}`),
];

/** The words of the command line that bring the file along, to where the program looks for it. */
function wordFile(rootfs: Rootfs, node: RootNode, searched: ReadonlySet<RootPath>): string {
  const { path } = node;
  // A library is found by the loader's search; a plug-in by its own path.
  if (searched.has(parentOf(path)) && isElf(rootfs.open(node))) return `--lib ${path}`;
  if (isWithin(path, "/usr") || isWithin(path, "/opt")) return path;
  return isWithin(path, "/etc") ? `--etc ${path}` : `${path} (outside of /usr and /opt: only flatwrap has it there)`;
}
