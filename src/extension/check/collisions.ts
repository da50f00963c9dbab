import { type RootPath, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { type Finding, found } from "./finding.ts";

/** One of several extensions that shall be merged together. */
export interface NamedExtension {
  /** Without suffix, as systemd sorts them. */
  readonly name: string;
  readonly rootfs: Rootfs;
}

/** Paths that several extensions bring; systemd stacks them in version order, and the last one is seen. */
export function findCollisions(extensions: readonly NamedExtension[]): readonly Finding[] {
  const sorted = [...extensions].sort((a, b) => compareVersions(a.name, b.name));
  const owners = new Map<RootPath, { readonly name: string; readonly node: RootNode }[]>();
  for (const { name, rootfs } of sorted)
    for (const node of rootfs.walk(rootPath("/")))
      owners.set(node.path, [...(owners.get(node.path) ?? []), { name, node }]);
  return [...owners].flatMap(([path, many]) => {
    if (many.length < 2 || many.every(({ node }) => node.type === "directory" && node.mode === many[0]!.node.mode))
      return [];
    return [
      found("collision", "warning", path, {
        extensions: many.map(({ name }) => name).join(", "),
        winner: many.at(-1)!.name,
      }),
    ];
  });
}

/**
 * systemd's order of names, `strverscmp_improved()` (UAPI.10 version format): `~` before everything, then `-`
 * and `^`, then `.`, numbers by value, letters by ASCII with upper case first.
 */
export function compareVersions(a: string, b: string): number {
  let [i, j] = [0, 0];
  const ignored = /[^A-Za-z0-9~\-^.]/;
  for (;;) {
    while (i < a.length && ignored.test(a[i]!)) i++;
    while (j < b.length && ignored.test(b[j]!)) j++;
    const [x, y] = [a[i] ?? "", b[j] ?? ""];
    for (const mark of ["~", "", "-", "^", "."]) {
      if (mark === "") {
        if (x === "" || y === "") return Math.sign(Number(x !== "") - Number(y !== ""));
      } else if ((x === mark) !== (y === mark)) return x === mark ? -1 : 1;
    }
    if (x === y && "~-^.".includes(x)) {
      i++;
      j++;
      continue;
    }
    const pattern = /\d/.test(x) || /\d/.test(y) ? /\d*/y : /[A-Za-z]*/y;
    const [left, right] = [matchAt(pattern, a, i), matchAt(pattern, b, j)];
    const order = pattern.source.startsWith("\\d") ? compareNumbers(left, right) : compareText(left, right);
    if (order !== 0) return order;
    i += left.length;
    j += right.length;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

function compareNumbers(a: string, b: string): number {
  if (a === "" || b === "") return Math.sign(a.length - b.length);
  const [x, y] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  return Math.sign(x.length - y.length) || compareText(x, y);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
