import { type ByteSource, isSameContent } from "../core/bytes.ts";
import { memorySource } from "../core/bytes.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError, type ErrorCode } from "../core/errors.ts";
import { encodeName } from "../core/names.ts";
import { type ExtPath, baseName, extPath, isWithin, parentOf } from "../core/paths.ts";
import { overlaySource } from "./overlay.ts";
import type { Action, Plan } from "./plan.ts";
import { strictXattr } from "./release.ts";

/** Every node of the extension, ready to be checked and packed. Parents are always present. */
export interface ExtensionTree {
  readonly name: string;
  /**
   * Sorted by path bytes, parents first; starts with `/`. A file's node that stands at several paths is one file
   * with several names (hard links).
   */
  readonly nodes: ReadonlyMap<ExtPath, TreeNode>;
}

/** One node of the extension, as the packer writes it. */
export type TreeNode =
  | (Attributes & { readonly type: "directory" })
  | (Attributes & { readonly type: "file"; readonly content: ByteSource })
  | (Attributes & { readonly type: "symlink"; readonly target: string });

interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** How {@link buildTree} carries out a plan. */
export interface TreeOptions {
  readonly name: string;
  /** `root` (default): everything belongs to 0:0. `keep`: as in the source; what is made here belongs to 0:0. */
  readonly ownership?: "root" | "keep";
  /** Let setuid and setgid files pass. Without it they are an error that names them all. */
  readonly allowSuid?: boolean;
}

/** The only folders that systemd merges (systemd-sysext(8)); everything else in an image is dead. */
export const hierarchies = ["/usr", "/opt"] as const;

const SETUID = 0o4000;
const SETGID = 0o2000;
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();
/**
 * Extended attributes that are shipped: file capabilities, and the one by which an extension-release file says that its name does
 * not matter. Labels and private notes belong to the system that a file came from.
 */
const keptXattrs: ReadonlySet<string> = new Set(["security.capability", strictXattr]);
/** A parent that no action names: as the host's own folders, whatever the umask (a 0700 folder would close /usr). */
const plainFolder: TreeNode = { type: "directory", mode: 0o755, uid: 0, gid: 0, xattrs: noXattrs };

/**
 * Carries out a plan: one node per action, parents added, sorted. No content is read.
 * @throws FlixwrapError, each with every path concerned: `extension-outside`, `extension-path`,
 *   `extension-node-type`, `extension-conflict`, `extension-suid`.
 */
export function buildTree(plan: Plan, options: TreeOptions): ExtensionTree {
  refusePaths(plan.actions);
  const made = new Map<ExtPath, { readonly node: TreeNode; readonly action: Action }>();
  const conflicts: string[] = [];
  const copied = new Map<string, TreeNode>();
  plan.source.expectXattrs?.(plan.actions.flatMap((action) => ("from" in action ? [action.from] : [])));
  for (const action of plan.actions) {
    const node = linkedNode(copied, action, () => buildNode(plan, action, options));
    const other = made.get(action.to);
    if (other === undefined) made.set(action.to, { node, action });
    else if (!isSame(other.node, node))
      conflicts.push(`${action.to}: ${tell(other.action)} and ${tell(action)} differ`);
  }
  const nodes = new Map<ExtPath, TreeNode>([[extPath("/"), plainFolder]]);
  const blocked = new Map<Action, ExtPath[]>();
  for (const [path, { node }] of made) {
    nodes.set(path, node);
    for (let parent = parentOf(path); parent !== "/"; parent = parentOf(parent)) {
      const above = made.get(parent);
      if (above === undefined) nodes.set(parent, plainFolder);
      else if (above.node.type !== "directory") {
        const paths = blocked.get(above.action);
        if (paths === undefined) blocked.set(above.action, [path]);
        else paths.push(path);
      }
    }
  }
  for (const [action, [path, ...more]] of blocked) {
    const others = more.length === 0 ? "" : `, and in that of ${more.length} more`;
    conflicts.push(`${path}: ${tell(action)} stands in its way${others}: ${action.to} is no folder`);
  }
  refuse("extension-conflict", "several things want the same place in the extension", [...new Set(conflicts)]);
  refuseSuid(made, options);
  return { name: options.name, nodes: sortNodes(nodes) };
}

/** Copies of one file of the source are one file here, too. */
function linkedNode(copied: Map<string, TreeNode>, action: Action, build: () => TreeNode): TreeNode {
  if (action.kind !== "copy" || action.from.type !== "file") return build();
  const known = copied.get(action.from.identity);
  if (known !== undefined) return known;
  const node = build();
  copied.set(action.from.identity, node);
  return node;
}

/** The one switch over what a plan can ask for. */
// oxlint-disable-next-line typescript/consistent-return -- it does not see that the switch is exhaustive; tsc does
function buildNode(plan: Plan, action: Action, options: TreeOptions): TreeNode {
  const own = { uid: 0, gid: 0, xattrs: noXattrs };
  switch (action.kind) {
    case "write":
      return {
        type: "file",
        mode: action.mode,
        ...own,
        xattrs: action.xattrs ?? noXattrs,
        content: memorySource(action.content),
      };
    case "symlink":
      return { type: "symlink", mode: 0o777, ...own, target: action.target };
    case "directory":
      return { type: "directory", mode: action.mode, ...own };
    case "copy":
    case "patch":
      return buildCopy(plan, action, options);
  }
}

function buildCopy(plan: Plan, action: Action & { kind: "copy" | "patch" }, options: TreeOptions): TreeNode {
  const { from } = action;
  const attributes = {
    mode: from.type === "symlink" ? 0o777 : from.mode & 0o7777,
    uid: options.ownership === "keep" ? from.uid : 0,
    gid: options.ownership === "keep" ? from.gid : 0,
    xattrs: keepXattrs(from.xattrs),
  };
  if (from.type === "directory") return { type: "directory", ...attributes };
  if (from.type === "symlink") return { type: "symlink", ...attributes, target: from.target ?? "" };
  if (from.type !== "file") return refuseType(action, from.type);
  const content = plan.source.open(from);
  if (action.kind === "copy") return { type: "file", ...attributes, content };
  return { type: "file", ...attributes, content: overlaySource(content, action.writes, action.size) };
}

function keepXattrs(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  const kept = [...xattrs].filter(([name]) => keptXattrs.has(name));
  return kept.length === 0 ? noXattrs : new Map(kept);
}

function refuseType(action: Action, type: string): never {
  throw new FlixwrapError("extension-node-type", {
    what: "only files, folders and symlinks can be part of an extension",
    where: action.to,
    got: type,
  });
}

function refusePaths(actions: readonly Action[]): void {
  const outside = actions.filter(({ to }) => !hierarchies.some((top) => isWithin(to, top)));
  refuse(
    "extension-outside",
    "an extension reaches the host's /usr and /opt only",
    outside.map(({ to, why }) => `${to} (${why})`),
    "give it a target below /usr, as in /bin/tool:/usr/bin/tool",
  );
  const bad = actions.filter(({ to }) => {
    // NAME_MAX and PATH_MAX of limits.h; NUL cannot be part of a name.
    return encodeName(baseName(to)).length > 255 || encodeName(to).length > 4095 || to.includes("\0");
  });
  refuse(
    "extension-path",
    "no file system can hold these names",
    bad.map(({ to }) => to),
  );
}

/** Setuid programs act for root on the host they are merged into: never by accident. */
function refuseSuid(
  made: ReadonlyMap<ExtPath, { readonly node: TreeNode; readonly action: Action }>,
  options: TreeOptions,
): void {
  const files = [...made].filter(([, { node }]) => node.type === "file" && (node.mode & (SETUID | SETGID)) !== 0);
  const list = files.map(([path, { node }]) => `${path} (mode ${node.mode.toString(8).padStart(4, "0")})`);
  if (options.allowSuid !== true)
    refuse(
      "extension-suid",
      "setuid or setgid files need a permission of their own",
      list,
      "allow them with --allow-suid",
    );
  if (options.ownership === "keep") return;
  // `games` setgid files turned into root's would hand out root.
  const foreign = files.filter(([, { node, action }]) => {
    if (action.kind !== "copy" && action.kind !== "patch") return false;
    const { uid, gid } = action.from;
    return ((node.mode & SETUID) !== 0 && uid !== 0) || ((node.mode & SETGID) !== 0 && gid !== 0);
  });
  refuse(
    "extension-suid",
    "setuid or setgid files of another user or group would become root's",
    foreign.map(([path]) => path),
    "keep the owners with --keep-owners",
  );
}

function refuse(code: ErrorCode, what: string, items: readonly string[], hint?: string): void {
  if (items.length > 0) throw new FlixwrapError(code, { what, items, ...defined({ hint }) });
}

function tell(action: Action): string {
  return action.kind === "copy" || action.kind === "patch" ? `${action.from.path} (${action.why})` : action.why;
}

/** Whether two actions for one path want the same thing; contents are compared only when all else is equal. */
function isSame(a: TreeNode, b: TreeNode): boolean {
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.xattrs.size !== b.xattrs.size) return false;
  for (const [name, value] of a.xattrs)
    if (Buffer.compare(value, b.xattrs.get(name) ?? Buffer.of()) !== 0) return false;
  if (a.type === "symlink") return b.type === "symlink" && a.target === b.target;
  if (a.type === "directory") return b.type === "directory";
  return b.type === "file" && isSameContent(a.content, b.content);
}

function sortNodes(nodes: ReadonlyMap<ExtPath, TreeNode>): ReadonlyMap<ExtPath, TreeNode> {
  const keyed = [...nodes].map((entry) => ({ key: encodeName(entry[0]), entry }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key));
  return new Map(keyed.map(({ entry }) => entry));
}
