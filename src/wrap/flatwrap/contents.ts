import { type ExtPath, isWithin, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import type { Action } from "../../extension/plan.ts";
import { compilePathGlob } from "../../loader/path-glob.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { wordLeftOut } from "../entry.ts";
import { relativeLink } from "../links.ts";
import type { Mount, MountTable } from "./mounts.ts";
import type { FlatwrapOptions } from "./options.ts";

/** The root as it is shipped. */
export interface Contents {
  readonly actions: readonly Action[];
  readonly warnings: readonly string[];
  /** Whether the program will find the root's own file at this real path. */
  isShipped(path: RootPath): boolean;
}

/** Where things stand in the extension. */
export interface Home {
  /** `PREFIX/NAME`. */
  readonly at: ExtPath;
  /** The program's `/`. */
  readonly root: ExtPath;
  /** Own files that stand before the host's. */
  readonly over: ExtPath;
}

/** The setuid and setgid bits. */
const PRIVILEGES = 0o6000;

/**
 * Everything of the root that the program will see, below `home.root`, with a place for every mount.
 * `isNeeded` tells which paths to keep; undefined: all.
 */
export function planContents(
  rootfs: Rootfs,
  table: MountTable,
  home: Home,
  options: FlatwrapOptions,
  isNeeded: ((path: RootPath) => boolean) | undefined,
): Contents {
  const { isExcluded, unused } = planExclusion(options.exclude);
  const parts = options.chroot?.flatMap((path) => [path, rootfs.resolve(path)?.path ?? path]);
  const isPart = (path: RootPath): boolean =>
    parts === undefined || parts.some((part) => isWithin(path, part) || isWithin(part, path));
  const isShipped = (path: RootPath): boolean =>
    !isExcluded(path) && table.isOwn(path) && isPart(path) && (isNeeded?.(path) ?? true);

  const actions: Action[] = [];
  const warnings: string[] = [];
  let withoutPrivileges = 0;
  const ship = (node: RootNode, to: ExtPath): void => {
    const why = `the root's ${node.path}`;
    if (node.type === "symlink") actions.push({ kind: "symlink", to, target: linkTarget(node), why });
    else if (node.type === "file" || node.type === "directory") {
      const mustLose = !options.allowSuid && isPrivileged(node);
      if (mustLose) withoutPrivileges += 1;
      actions.push({ kind: "copy", to, from: mustLose ? dropPrivileges(node) : node, why });
    } else warnings.push(wordLeftOut(node));
  };
  /** A link that leads through the host's folders to a file of the root takes the direct way. */
  const linkTarget = (node: RootNode): string => {
    const target = node.target ?? "";
    const next = rootPath(target.startsWith("/") ? target : `${parentOf(node.path)}/${target}`);
    const goal = table.isOwn(next) ? undefined : rootfs.resolve(node.path);
    if (goal === undefined || !isShipped(goal.path)) return target;
    return relativeLink(node.path as string as ExtPath, goal.path as string as ExtPath);
  };

  const mountPoints = new Set(table.mounts.map(({ inside }) => inside));
  for (const node of rootfs.walk(rootPath("/"))) {
    if (isShipped(node.path) && !mountPoints.has(node.path)) ship(node, join(home.root, node.path));
  }
  for (const mount of table.mounts) {
    actions.push(...planMountPoint(mount, table, home));
    if (mount.host !== undefined) continue;
    if (mount.text !== undefined) {
      const to = join(home.over, mount.inside);
      const content = Buffer.from(mount.text);
      actions.push({ kind: "write", to, content, mode: 0o644, why: "as the loader has it" });
      continue;
    }
    for (const node of rootfs.walk(rootfs.resolve(mount.inside)?.path ?? mount.inside)) {
      ship(node, join(home.over, node.path));
    }
  }
  for (const glob of unused) {
    warnings.push(`--exclude ${glob} leaves nothing out: globs are of whole paths, such as /usr/share/doc or **/*.a`);
  }
  if (withoutPrivileges > 0) {
    warnings.push(
      `${withoutPrivileges} files lose their setuid bits or capabilities, which every user of the host could use: see --allow-suid`,
    );
  }
  return { actions, warnings, isShipped };
}

const isPrivileged = (node: RootNode): boolean =>
  node.type === "file" && ((node.mode & PRIVILEGES) !== 0 || node.xattrs.has("security.capability"));

const dropPrivileges = (node: RootNode): RootNode => ({
  ...node,
  mode: node.mode & ~PRIVILEGES,
  xattrs: new Map<string, Uint8Array>(),
});

/** The empty folder or file that a mount goes over; below a folder of the host it is the host that must have the place. */
function planMountPoint(mount: Mount, { mounts }: MountTable, home: Home): Action[] {
  const isCovered = mounts.some(
    (above) => above !== mount && above.host !== undefined && isWithin(mount.inside, above.inside),
  );
  if (isCovered) return [];
  const to = join(home.root, mount.inside);
  const why = `stands for the host's ${mount.host ?? mount.inside}`;
  return mount.type === "folder"
    ? [{ kind: "directory", to, mode: 0o755, why }]
    : [{ kind: "write", to, content: new Uint8Array(), mode: 0o644, why }];
}

interface Exclusion {
  /** Whether a path, or a folder that it lies in, is left out. */
  readonly isExcluded: (path: RootPath) => boolean;
  /** The globs that no asked path matched so far. */
  readonly unused: ReadonlySet<string>;
}

function planExclusion(globs: readonly string[]): Exclusion {
  const rows = globs.map((glob) => ({ glob, matches: compilePathGlob(glob) }));
  const unused = new Set(globs);
  const known = new Map<RootPath, boolean>([[rootPath("/"), false]]);
  const isExcluded = (path: RootPath): boolean => {
    const answer = known.get(path);
    if (answer !== undefined) return answer;
    const matching = rows.filter(({ matches }) => matches(path));
    for (const { glob } of matching) unused.delete(glob);
    const excluded = matching.length > 0 || isExcluded(parentOf(path));
    known.set(path, excluded);
    return excluded;
  };
  return { isExcluded: globs.length === 0 ? () => false : isExcluded, unused };
}
