import { FlixwrapError } from "../core/errors.ts";
import { baseName, type ExtPath, extPath, join, rootPath } from "../core/paths.ts";
import type { Action } from "../extension/plan.ts";
import { compilePathGlob } from "../loader/path-glob.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { holds } from "./condition.ts";
import type { Placement } from "./format.ts";
import { fillTemplate, type Values } from "./template.ts";

/** A file whose text is replaced is a unit or a configuration. In bytes. */
const largestText = 1 << 20;

/**
 * The files of a root that a part's rows take, as actions.
 * @throws FlixwrapError `recipe-no-match`, with what is there; `recipe-replace`; `recipe-node-type`
 */
export function placeFiles(root: Rootfs, rows: readonly Placement[], values: Values): Action[] {
  const nodes = [...root.walk(rootPath("/"))].filter((node) => node.path !== "/");
  return rows.filter((row) => holds(row.when, values)).flatMap((row) => placeRow(root, nodes, row, values));
}

function placeRow(root: Rootfs, nodes: readonly RootNode[], row: Placement, values: Values): Action[] {
  const pattern = fillTemplate(row.from, values, "files");
  const to = fillTemplate(row.to, values, "files");
  const folder = root.lookup(rootPath(pattern))?.type === "directory";
  const matches = compilePathGlob(folder ? `${escapeGlob(pattern)}/**` : pattern);
  const except = row.except.map((one) => compilePathGlob(fillTemplate(one, values, "except")));
  const found = nodes.filter(
    (node) =>
      node.type !== "directory" && matches(node.path.slice(1)) && !except.some((one) => one(node.path.slice(1))),
  );
  if (found.length === 0 && !row.optional) throw noMatch(root, nodes, pattern);
  if (!to.endsWith("/") && found.length > 1) {
    throw new FlixwrapError("recipe-no-match", {
      what: `the pattern ${pattern} matches ${found.length} files but ${to} is one path`,
      where: root.description,
      hint: "end the path in / to make it a folder",
    });
  }
  const base = folder ? pattern : fixedPart(pattern);
  const actions = found.map((node) =>
    placeNode(root, node, targetOf(node, base, to), row, `${pattern} of ${root.description}`),
  );
  checkReplaced(row, actions, root, found, pattern);
  return actions;
}

const escapeGlob = (path: string): string => path.replace(/[\\[\]{}()*?!+@]/g, "\\$&");

/** The folders of a pattern before the first part with a wildcard. */
function fixedPart(pattern: string): string {
  const parts = pattern.split("/").slice(0, -1);
  const wild = parts.findIndex((part) => /[*?[{(]/.test(part));
  return parts.slice(0, wild === -1 ? parts.length : wild).join("/");
}

function targetOf(node: RootNode, base: string, to: string): ExtPath {
  if (!to.endsWith("/")) return extPath(to);
  const inside = node.path.slice(1);
  return join(extPath(to), base !== "" && inside.startsWith(`${base}/`) ? inside.slice(base.length + 1) : inside);
}

function placeNode(root: Rootfs, node: RootNode, to: ExtPath, row: Placement, why: string): Action {
  if (node.type === "symlink") return { kind: "symlink", to, target: node.target ?? "", why };
  if (node.type !== "file") {
    throw new FlixwrapError("recipe-node-type", {
      what: "cannot be part of an extension",
      where: node.path,
      got: node.type,
    });
  }
  const mode = row.mode ?? node.mode;
  if (Object.keys(row.replace).length === 0) return { kind: "copy", to, from: { ...node, mode }, why };
  const bytes = root.open(node).read(0, largestText + 1);
  if (bytes.length > largestText) {
    throw new FlixwrapError("recipe-replace", {
      what: "too large for `replace`",
      where: node.path,
      wanted: "at most 1 MiB",
    });
  }
  let text = Buffer.from(bytes).toString("utf8");
  for (const [before, after] of Object.entries(row.replace)) text = text.replaceAll(before, after);
  return { kind: "write", to, content: Buffer.from(text), mode, why };
}

/** A replacement that changes nothing means that upstream's file is no longer what the recipe thinks. */
function checkReplaced(
  row: Placement,
  actions: readonly Action[],
  root: Rootfs,
  found: readonly RootNode[],
  pattern: string,
): void {
  for (const before of Object.keys(row.replace)) {
    const there = found.some(
      (node) => node.type === "file" && Buffer.from(root.open(node).read(0, largestText)).includes(before),
    );
    if (!there && actions.length > 0) {
      throw new FlixwrapError("recipe-replace", {
        what: `${JSON.stringify(before)} is not in the files`,
        where: `${pattern} of ${root.description}`,
      });
    }
  }
}

function noMatch(root: Rootfs, nodes: readonly RootNode[], pattern: string): FlixwrapError {
  const wanted = baseName(pattern).replace(/[*?{}[\]()]/g, "");
  const files = nodes.filter((node) => node.type !== "directory").map((node) => node.path.slice(1));
  const alike = files.filter((path) => wanted !== "" && path.includes(wanted));
  const shown = [...alike, ...files.filter((path) => !alike.includes(path))].slice(0, 8);
  return new FlixwrapError("recipe-no-match", {
    what: `nothing matches ${pattern}`,
    where: root.description,
    got:
      files.length === 0
        ? "an empty archive"
        : `${shown.join(", ")}${files.length > shown.length ? ` and ${files.length - shown.length} more` : ""}`,
  });
}
