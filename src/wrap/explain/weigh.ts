import type { RootPath } from "../../core/paths.ts";
import type { ExplainedFile } from "./explanation.ts";

/**
 * Bytes that go when a file goes: its own and those of all that is reached from `roots` only through it. These are the
 * sub-trees of the dominator tree (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001).
 */
export function weigh(
  files: readonly Pick<ExplainedFile, "path" | "size" | "needs">[],
  roots: readonly RootPath[],
): ReadonlyMap<RootPath, number> {
  const indexOf = new Map(files.map(({ path }, index) => [path, index]));
  const start = files.length;
  const next: number[][] = files.map(({ needs }) =>
    needs.flatMap(({ path }) => (path === undefined ? [] : (indexOf.get(path) ?? []))),
  );
  next.push(roots.flatMap((path) => indexOf.get(path) ?? []));

  const order = postOrder(next, start);
  const position = new Map(order.map((node, index) => [node, index]));
  const previous = new Map<number, number[]>(order.map((node) => [node, []]));
  for (const node of order) for (const to of next[node]!) previous.get(to)!.push(node);

  const dominator = new Map([[start, start]]);
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      if (position.get(a)! < position.get(b)!) a = dominator.get(a)!;
      else b = dominator.get(b)!;
    }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const node of order.slice(0, -1).reverse()) {
      const known = previous.get(node)!.filter((one) => dominator.has(one));
      const best = known.reduce(meet);
      if (dominator.get(node) === best) continue;
      dominator.set(node, best);
      changed = true;
    }
  }
  // Children stand before their dominator in post-order, so each sum is complete when it is handed on.
  const sums = [...files.map(({ size }) => size), 0];
  for (const node of order.slice(0, -1)) sums[dominator.get(node)!]! += sums[node]!;
  return new Map(files.map(({ path }, index) => [path, sums[index]!]));
}

/** Depth first without recursion: chains of needs are as long as an image likes. */
function postOrder(next: readonly (readonly number[])[], start: number): number[] {
  const order: number[] = [];
  const seen = new Set([start]);
  const path = [{ node: start, at: 0 }];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const to = next[top.node]![top.at++];
    if (to === undefined) order.push(path.pop()!.node);
    else if (!seen.has(to)) {
      seen.add(to);
      path.push({ node: to, at: 0 });
    }
  }
  return order;
}
