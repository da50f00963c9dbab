import type { RootPath } from "../core/paths.ts";
import type { Closure, Process } from "./closure.ts";

/** Who answers a DT_NEEDED name of an object, in one process. */
export interface Provision {
  readonly object: RootPath;
  readonly name: string;
  readonly provider: RootPath;
}

/** Every answer to a DT_NEEDED name in the processes of one family, each once. */
export function providersOf(closure: Closure, family: Process["family"]): readonly Provision[] {
  const answers = new Map<RootPath, Provision[]>();
  for (const { node, reasons } of closure.objects) {
    for (const { neededBy, name } of reasons) {
      const provisions = answers.get(neededBy) ?? [];
      provisions.push({ object: neededBy, name, provider: node.path });
      answers.set(neededBy, provisions);
    }
  }
  const found = new Set<Provision>();
  for (const process of closure.processes) {
    if (process.family !== family) continue;
    const loaded = new Set(process.objects);
    for (const object of process.objects) {
      // Another process may get another file for the same name.
      for (const provision of answers.get(object) ?? []) if (loaded.has(provision.provider)) found.add(provision);
    }
  }
  return [...found];
}
