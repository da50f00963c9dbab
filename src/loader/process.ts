import type { RootPath } from "../core/paths.ts";
import { expandName } from "./candidates.ts";
import type { Process, SearchRule } from "./closure.ts";
import type { GrowingClosure } from "./growing-closure.ts";
import { openLoadOrder } from "./load-order.ts";
import { LoadedNames } from "./loaded-names.ts";
import { isTwinOfLoader, search } from "./search.ts";
import type { Asker, SearchWorld } from "./world.ts";

/** What an object will load by dlopen(3). */
export interface LateRequest {
  /** Any one of them serves; the first that is there is taken. */
  readonly names: readonly string[];
  /** Its absence is an error, not a warning. */
  readonly required: boolean;
  readonly why: string;
}

/** A process, and how it came about. */
export interface LoadedProcess {
  readonly process: Process;
  /** Something was found in a `glibc-hwcaps` sub-folder. */
  readonly metVariant: boolean;
}

/** One object in the simulated process (glibc's link_map, musl's struct dso). */
interface Loaded extends Asker {
  readonly loadedBy?: Loaded;
}

/** One entry of a table, or one call of dlopen(3), at work. */
interface Request {
  readonly written: string;
  /** Whose run path the search starts with. */
  readonly asker: Loaded;
  /** Made by dlopen(3): who calls, and what for. */
  readonly dlopen?: { readonly caller: Loaded; readonly why: string };
}

/**
 * Loads `program` and, breadth first, all it needs, as its loader does; every arrival is told to `closure`. Then
 * come the objects that `late` says will be loaded at run time, with what they need.
 */
export function loadProcess(
  world: SearchWorld,
  program: Asker,
  closure: GrowingClosure,
  late: (object: Asker) => readonly LateRequest[],
): LoadedProcess {
  const { facts } = world;
  const { policy } = facts;
  const main: Loaded = { node: program.node, elf: program.elf, openedAs: program.openedAs };
  const loader: Loaded = { node: facts.node, elf: facts.elf, openedAs: facts.path };
  const known = new LoadedNames(policy, loader);
  const files = new Map<string, Loaded>();
  let metVariant = false;
  for (const object of [main, loader]) {
    files.set(object.node.identity, object);
    known.addSoname(object);
  }
  known.add(facts.path, loader);

  const tell = (request: Request, object: Loaded, rule: SearchRule, path?: RootPath): Loaded => {
    const { written: name, asker, dlopen } = request;
    const foundAs = path ?? (object === loader ? facts.foundAs : undefined);
    closure.add({
      node: object.node,
      elf: object.elf,
      role: object === loader ? "interpreter" : "library",
      reason: { neededBy: (dlopen?.caller ?? asker).node.path, name, rule, ...(dlopen && { dlopen: dlopen.why }) },
      ...(foundAs !== undefined && { foundAs }),
    });
    return object;
  };

  /** Finds and loads one object; `absent` decides what a miss means. */
  const load = (request: Request, absent: "missing" | "ignored" = "missing"): Loaded | undefined => {
    const { written, asker, dlopen } = request;
    const name = expandName(written, asker, facts);
    if (name === undefined) return undefined;
    const loaded = known.find(name);
    if (loaded !== undefined) return tell(request, loaded, { kind: "loaded" });

    const result = search(world, name, asker);
    if (result.kind === "missing") {
      const neededBy = (dlopen?.caller ?? asker).node.path;
      if (absent === "missing") closure.miss({ name: written, neededBy, searched: result.searched });
      return undefined;
    }
    metVariant ||= result.openedAs.includes("/glibc-hwcaps/");
    if (result.rule.kind === "conf") closure.warn(wordConfOnly(name, asker));
    const same = files.get(result.node.identity);
    if (same === undefined && isTwinOfLoader(world, result.elf)) return tell(request, loader, { kind: "loaded" });
    const object = same ?? { ...result, node: closure.libraryNode(result.node), loadedBy: asker };
    if (same === undefined) {
      files.set(object.node.identity, object);
      known.addSoname(object);
    }
    known.addRequest(name, object);
    return tell(request, object, result.rule, result.path);
  };

  const loadLate = (caller: Loaded, { names, required, why }: LateRequest): Loaded | undefined => {
    const asker = policy.dlopen === "caller" ? caller : main;
    const dlopen = { caller, why };
    for (const written of names) {
      const object = load({ written, asker, dlopen }, "ignored");
      if (object !== undefined) return object;
    }
    const [written = ""] = names;
    if (required) return load({ written, asker, dlopen });
    closure.warn(`${caller.node.path} can load ${names.join(" or ")} (${why}), which the image does not have`);
    return undefined;
  };

  const order = openLoadOrder(main);
  const loadNeeded = (): void => {
    for (let object = order.next(); object !== undefined; object = order.next()) {
      const { needed, filters, auxiliary } = object.elf;
      for (const written of needed) order.place(load({ written, asker: object }));
      if (!policy.filters) continue;
      for (const written of filters) order.place(load({ written, asker: object }), object);
      for (const written of auxiliary) order.place(load({ written, asker: object }, "ignored"), object);
    }
  };
  loadNeeded();
  // The order grows meanwhile: what was loaded late may load more.
  for (const object of order.objects) {
    for (const request of late(object)) order.place(loadLate(object, request));
    loadNeeded();
  }
  const process: Process = {
    main: main.node.path,
    loader: loader.node.path,
    family: policy.family,
    levels: world.levels,
    objects: order.objects.map(({ node }) => node.path),
  };
  return { process, metVariant };
}

const wordConfOnly = (name: string, { node }: Asker): string =>
  `${name} (needed by ${node.path}) is only in a folder of /etc/ld.so.conf: the image has no cache entry for it, its own loader would not find it`;
