import { memorySource } from "../core/bytes.ts";
import type { RootPath } from "../core/paths.ts";
import type { Action, Plan } from "../extension/plan.ts";
import { compareNames } from "../oci/backed-rootfs.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/**
 * Several plans with sources of their own as one. Nodes of the joined source carry the number of theirs in their
 * identity, so that a node that was copied with another mode still finds its content. Looked at as a root, the
 * joined source shows the first source that has a path.
 */
export function joinPlans(plans: readonly Plan[], description: string): Plan {
  const sources = [...new Set(plans.map((plan) => plan.source))];
  return {
    source: joinRoots(sources, description),
    actions: plans.flatMap((plan) => plan.actions.map((action) => ownAction(action, sources.indexOf(plan.source)))),
    warnings: plans.flatMap((plan) => plan.warnings),
  };
}

const ownNode = (node: RootNode, source: number): RootNode => ({ ...node, identity: `${source}:${node.identity}` });

const ownAction = (action: Action, source: number): Action =>
  action.kind === "copy" || action.kind === "patch" ? { ...action, from: ownNode(action.from, source) } : action;

/** Several roots laid over each other, the first on top; see {@link joinPlans}. */
export function joinRoots(sources: readonly Rootfs[], description: string): Rootfs {
  const first = (find: (source: Rootfs) => RootNode | undefined): RootNode | undefined => {
    for (const [at, source] of sources.entries()) {
      const node = find(source);
      if (node !== undefined) return ownNode(node, at);
    }
    return undefined;
  };
  return {
    description,
    lookup: (path) => first((source) => source.lookup(path)),
    resolve: (path) => first((source) => source.resolve(path)),
    list: (folder) => [...new Set(sources.flatMap((source) => source.list(folder)))].sort(compareNames),
    open(node) {
      const [number, ...identity] = node.identity.split(":");
      const source = sources[Number(number)];
      return source === undefined
        ? memorySource(new Uint8Array())
        : source.open({ ...node, identity: identity.join(":") });
    },
    *walk(from) {
      const seen = new Set<RootPath>();
      for (const [at, source] of sources.entries()) {
        for (const node of source.walk(from))
          if (!seen.has(node.path)) yield ((seen.add(node.path), ownNode(node, at)));
      }
    },
  };
}
