import { baseName } from "../core/paths.ts";
import type { Reason, SearchRule } from "./closure.ts";
import type { GrowingClosure } from "./growing-closure.ts";
import { type Asker, type SearchWorld, expandName, search } from "./search.ts";

/** One object in the simulated process (glibc's link_map, musl's struct dso). */
interface Loaded extends Asker {
  readonly loadedBy?: Loaded;
  /** Names that answer a request at once. */
  readonly names: Set<string>;
}

type Request = "needed" | "filter" | "auxiliary";

/** Loads `program` and, breadth first, all it needs, as its loader does; every arrival is told to `closure`. */
export function loadProcess(world: SearchWorld, program: Asker, closure: GrowingClosure): void {
  const { facts } = world;
  const { policy } = facts;
  const main: Loaded = { node: program.node, elf: program.elf, openedAs: program.openedAs, names: new Set() };
  const loader: Loaded = { node: facts.node, elf: facts.elf, openedAs: facts.path, names: new Set([facts.path]) };
  const maps: Loaded[] = [main, loader];

  /** The object that answers `name` without a search. */
  const alreadyLoaded = (name: string): Loaded | undefined => {
    if (policy.loaded.reserved?.test(name)) return loader;
    return maps.find((map) => map.names.has(name) || (policy.loaded.soname && map.elf.soname === name));
  };

  const load = (written: string, asker: Loaded, request: Request): Loaded | undefined => {
    const tell = (
      object: Loaded,
      rule: SearchRule,
      foundAs = object === loader ? facts.foundAs : undefined,
    ): Loaded => {
      const reason: Reason = { neededBy: asker.node.path, name: written, rule };
      const role = object === loader ? "interpreter" : "library";
      closure.add({ node: object.node, elf: object.elf, role, reason, ...(foundAs !== undefined && { foundAs }) });
      return object;
    };
    const name = expandName(written, asker, facts);
    if (name === undefined) return undefined;
    const known = alreadyLoaded(name);
    if (known !== undefined) return tell(known, { kind: "loaded" });

    const result = search(world, name, asker);
    if (result.kind === "missing") {
      if (request !== "auxiliary") {
        closure.miss({ name: written, neededBy: asker.node.path, searched: result.searched });
      }
      return undefined;
    }
    if (result.rule.kind === "conf") {
      closure.warn(
        `${name} (needed by ${asker.node.path}) is only in a folder of /etc/ld.so.conf: the image has no cache entry for it, its own loader would not find it`,
      );
    }
    const wasSearched = !name.includes("/");
    const same = maps.find((map) => map.node.identity === result.node.identity);
    const object = same ?? { ...result, loadedBy: asker, names: new Set<string>() };
    if (policy.loaded.requests) {
      object.names.add(name);
      if (same === undefined) object.names.add(result.openedAs);
    } else if (wasSearched && object.names.size === 0) {
      // musl's shortname: the file name of the path that it was opened by first.
      object.names.add(baseName(object.openedAs));
    }
    if (same === undefined) maps.push(object);
    return tell(object, result.rule, result.path);
  };

  // glibc puts a filter's or auxiliary object in front of its owner, so its own needs come before the owner's siblings.
  const queue: Loaded[] = [main];
  const seen = new Set<Loaded>(queue);
  const enqueue = (object: Loaded | undefined, at: number): void => {
    if (object === undefined || seen.has(object)) return;
    seen.add(object);
    queue.splice(at, 0, object);
  };
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const name of next.elf.needed) enqueue(load(name, next, "needed"), queue.length);
    if (!policy.filters) continue;
    for (const name of next.elf.filters) enqueue(load(name, next, "filter"), 0);
    for (const name of next.elf.auxiliary) enqueue(load(name, next, "auxiliary"), 0);
  }
}
