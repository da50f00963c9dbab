import { extPath, type ExtPath, join } from "../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../elf/index.ts";
import { planFolder } from "../extension/folder-plan.ts";
import type { Plan } from "../extension/plan.ts";
import { readTemplate } from "../host/templates.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { parseEntry, parsePrefix } from "../wrap/entry.ts";
import { parseFlatwrapOptions } from "../wrap/flatwrap/options.ts";
import { planFlatwrap } from "../wrap/flatwrap.ts";
import { planFlix } from "../wrap/flix/plan.ts";
import type { Request } from "./request.ts";

/** What a converter makes of a root. */
export interface Converted {
  readonly plan: Plan;
  /** ELF files of the extension; they tell its architecture. */
  readonly elfs: readonly ElfFile[];
  /** The folder of private files, where the converter has one. */
  readonly privateFolder?: ExtPath;
}

/** A converter that has read its request; whatever is wrong with that was told before anything is fetched. */
export type Planner = (rootfs: Rootfs) => Converted;

/** One row per converter. */
export const planners: Readonly<Record<Request["converter"], (request: Request, name: string) => Planner>> = {
  flix({ entries, options }, name) {
    const parsed = entries.map(parseEntry);
    const prefix = parsePrefix(options.prefix ?? defaultPrefix);
    return (rootfs) => {
      const plan = planFlix(rootfs, parsed, {
        name,
        prefix,
        ...(options.lib === undefined ? {} : { libraries: options.lib }),
        ...(options.dlopen === undefined ? {} : { dlopen: options.dlopen }),
      });
      return { plan, elfs: plan.closure.objects.map(({ elf }) => elf), privateFolder: join(prefix, name) };
    };
  },

  flatwrap({ entries, options }, name) {
    const parsed = entries.map(parseEntry);
    const prefix = parsePrefix(options.prefix ?? defaultPrefix);
    const templates = { entry: readTemplate("flatwrap-entry.sh"), enter: readTemplate("flatwrap-enter.sh") };
    const allowSuid = options.allowSuid ?? false;
    const flatwrap = parseFlatwrapOptions({ ...options.flatwrap, allowSuid }, { name, prefix, templates });
    return (rootfs) => {
      const plan = planFlatwrap(rootfs, parsed, flatwrap);
      return { plan, elfs: readElfs(rootfs, plan.programs), privateFolder: join(prefix, name) };
    };
  },

  pack: () => (rootfs) => {
    const plan = planFolder(rootfs);
    const files = plan.actions.flatMap((action) =>
      action.kind === "copy" && action.from.type === "file" ? [action.from] : [],
    );
    return { plan, elfs: readElfs(rootfs, files) };
  },
};

export const defaultPrefix = extPath("/usr/lib/flixwrap");

function readElfs(rootfs: Rootfs, nodes: readonly RootNode[]): ElfFile[] {
  return nodes.filter((node) => isElf(rootfs.open(node))).map((node) => readElf(rootfs.open(node), node.path));
}
