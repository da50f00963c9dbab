import type { RootPath } from "../../core/paths.ts";
import type { Closure, LoadedObject } from "../../loader/closure.ts";

/** The closure seen from the object that needs: who needs what, and what is loaded because of it. */
export interface NeedGraph {
  /** What the object's own DT_NEEDED and PT_INTERP entries gave, in load order. */
  needs(object: LoadedObject): readonly LoadedObject[];
  /** Everything that is loaded because of the object, nearest first, without itself. */
  reach(object: LoadedObject): readonly LoadedObject[];
  /** What the loader found by the object's own DT_RPATH or DT_RUNPATH. */
  foundByRunPathOf(object: LoadedObject): readonly LoadedObject[];
}

/** Builds the graph from a closure's reasons, which tell who needed each object. */
export function buildGraph(closure: Closure): NeedGraph {
  const needs = new Map<RootPath, LoadedObject[]>();
  const owned = new Map<RootPath, LoadedObject[]>();
  for (const object of closure.objects) {
    for (const { neededBy, rule } of object.reasons) {
      append(needs, neededBy, object);
      if (rule.kind === "rpath" || rule.kind === "runpath") append(owned, rule.owner, object);
    }
  }
  const needsOf = (object: LoadedObject): readonly LoadedObject[] => needs.get(object.node.path) ?? [];
  return {
    needs: needsOf,
    foundByRunPathOf: (object) => owned.get(object.node.path) ?? [],
    reach(object) {
      // A Set is walked in insertion order, including what is added on the way: breadth first.
      const reached = new Set([object]);
      for (const next of reached) for (const found of needsOf(next)) reached.add(found);
      reached.delete(object);
      return [...reached];
    },
  };
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else if (!values.includes(value)) values.push(value);
}
