import { baseName, type RootPath } from "../../core/paths.ts";
import type { ElfFile } from "../../elf/index.ts";
import { buildTree } from "../../extension/tree.ts";
import { extensionRootfs } from "../../extension/tree-rootfs.ts";
import type { Closure } from "../../loader/closure.ts";
import { type LateRequest, resolveClosure } from "../../loader/index.ts";
import type { FlixPlan, Layout } from "./plan.ts";

/** An object that would not get the library it got in the image. Paths are those of the image. */
export interface Misdirected {
  readonly neededBy: RootPath;
  readonly name: string;
  readonly got: string | undefined;
  readonly wanted: string;
}

/**
 * Runs the loader's search once more, now on the planned extension, with the bytes that will be shipped: the
 * sealed loaders, the new run paths, musl's path files. Every request must lead to the file it led to in the
 * image. What the plan forgot, or what would be looked for on the host, shows here and not on somebody's node.
 */
export function provePlan(plan: FlixPlan, { closure, selection, hwcaps }: Layout): readonly Misdirected[] {
  const read = new Map(closure.objects.map(({ node, elf }) => [node.path, elf]));
  const origin = new Map<string, RootPath>();
  const unchanged = new Map<string, ElfFile>();
  for (const action of plan.actions) {
    if (!("from" in action)) continue;
    origin.set(action.to, action.from.path);
    const elf = action.kind === "copy" ? read.get(action.from.path) : undefined;
    if (elf !== undefined) unchanged.set(action.to, elf);
  }
  const late = lateRequests(closure);
  const chosen = (role: "program" | "library"): RootPath[] =>
    // On the host, the extension's paths are root paths.
    selection.files.filter((file) => file.role === role).map(({ to }) => to as string as RootPath);
  const extension = extensionRootfs(buildTree(plan, { name: "planned", allowSuid: true }));
  const planned = resolveClosure(extension, chosen("program"), {
    libraries: chosen("library"),
    dlopen: "none",
    hwcaps,
    late: ({ node }) => late.get(origin.get(node.path)!) ?? [],
    // The same bytes say the same.
    readObject: (node) => unchanged.get(node.path),
  });

  const wanted = requestsOf(closure, (path) => path);
  const got = requestsOf(planned, (path) => origin.get(path));
  return [...wanted]
    .filter(([key, { answers }]) => list(answers) !== list(got.get(key)?.answers ?? []))
    .map(([key, { neededBy, name, answers }]) => ({
      neededBy,
      name,
      got: got.has(key) ? [...got.get(key)!.answers].join(" or ") : undefined,
      wanted: [...answers].join(" or "),
    }));
}

const list = (paths: Iterable<RootPath>): string => [...paths].toSorted().join();

/** What each object loaded by dlopen(3) in the image. A path of the image is none of the host: its file name is asked for. */
function lateRequests({ objects }: Closure): ReadonlyMap<RootPath, readonly LateRequest[]> {
  const requests = new Map<RootPath, LateRequest[]>();
  for (const { neededBy, name, dlopen } of objects.flatMap(({ reasons }) => reasons)) {
    if (dlopen === undefined) continue;
    const request: LateRequest = { names: [baseName(name)], required: true, why: "as in the image" };
    requests.set(neededBy, [...(requests.get(neededBy) ?? []), request]);
  }
  return requests;
}

interface Request {
  readonly neededBy: RootPath;
  readonly name: string;
  /** Real files of the image that answer it; several when two programs get different ones. */
  readonly answers: Set<RootPath>;
}

/** Who asked for what and got which file, in the image's paths. Loaders' names changed, so they count as one name. */
function requestsOf(closure: Closure, toImage: (path: RootPath) => RootPath | undefined): Map<string, Request> {
  const requests = new Map<string, Request>();
  for (const object of closure.objects) {
    const answer = toImage(object.node.path);
    for (const reason of object.reasons) {
      const neededBy = toImage(reason.neededBy);
      if (answer === undefined || neededBy === undefined) continue;
      const name = reason.rule.kind === "interpreter" ? "its loader" : baseName(reason.name);
      const key = `${neededBy}\0${name}`;
      const request = requests.get(key) ?? { neededBy, name, answers: new Set() };
      request.answers.add(answer);
      requests.set(key, request);
    }
  }
  return requests;
}
