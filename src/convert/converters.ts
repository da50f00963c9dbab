import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { extPath, type ExtPath, join } from "../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../elf/index.ts";
import { planFolder } from "../extension/folder-plan.ts";
import type { Plan } from "../extension/plan.ts";
import { readTemplate } from "../host/templates.ts";
import type { NamedText } from "../extension/publish/sysupdate.ts";
import { openTorcx } from "../image/open-torcx.ts";
import { libraryPathOf } from "../loader/index.ts";
import { type Image, type OpenedImage, openImage } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { unitFileName, unitFolder } from "../extension/units/names.ts";
import { findUnit } from "../extension/units/planned.ts";
import { type Entry, parseEntry, parsePrefix } from "../wrap/entry.ts";
import { parseFlatwrapOptions, readFlatwrapTemplates } from "../wrap/flatwrap/options.ts";
import { planFlatwrap } from "../wrap/flatwrap.ts";
import { planFlix } from "../wrap/flix/plan.ts";
import { formatMigrationButane, wordMigration } from "../wrap/torcx/migration.ts";
import { planTorcx } from "../wrap/torcx.ts";
import { defined } from "../core/defined.ts";
import { smokeTestWrapped } from "./flatwrap-smoke.ts";
import type { ConvertOptions, Request } from "./request.ts";
import type { SmokeTest } from "./smoke.ts";

/** What a converter makes of a root. */
export interface Converted {
  readonly plan: Plan;
  /** ELF files of the extension; they tell its architecture. */
  readonly elfs: readonly ElfFile[];
  /** The folder of private files, where the converter has one. */
  readonly privateFolder?: ExtPath;
  /** What the user has to do besides, a line each. */
  readonly notices?: readonly string[];
  /** The same as files to be written beside the image with `--butane`. */
  readonly texts?: readonly NamedText[];
  /** How its programs are tried; in a root that holds the extension alone when undefined. */
  readonly smoke?: SmokeTest;
}

/** A converter that has read its request; whatever is wrong with that is told before anything is fetched. */
export interface Converter {
  open(context: Context): Promise<OpenedImage>;
  plan(rootfs: Rootfs, image: Image): Converted;
}

/** One row per converter. */
export const converters: Readonly<Record<Request["converter"], (request: Request, name: string) => Converter>> = {
  flix({ source, entries, options }, name) {
    const parsed = entries.map(parseEntry);
    const prefix = parsePrefix(options.prefix ?? defaultPrefix);
    return {
      open: imageOpener(source, options),
      plan(rootfs, { config }) {
        const { lib: libraries, withBinaries: binaries, dlopen, hwcaps, kernel } = options;
        const wanted = defined({ libraries, binaries, dlopen, hwcaps, kernel });
        const plan = planFlix(rootfs, parsed, { name, prefix, libraryPath: libraryPathOf(config.env), ...wanted });
        return { plan, elfs: plan.closure.objects.map(({ elf }) => elf), privateFolder: join(prefix, name) };
      },
    };
  },

  flatwrap({ source, entries, options }, name) {
    const parsed = entries.map(parseEntry);
    const prefix = parsePrefix(options.prefix ?? defaultPrefix);
    const templates = readFlatwrapTemplates(readTemplate);
    const allowSuid = options.allowSuid ?? false;
    const flatwrap = parseFlatwrapOptions({ ...options.flatwrap, allowSuid }, { name, prefix, templates });
    return {
      open: imageOpener(source, options),
      plan(rootfs) {
        const units = unitEntries(rootfs, parsed, options.enable ?? []);
        const plan = planFlatwrap(rootfs, [...parsed, ...units], flatwrap);
        const elfs = readElfs(rootfs, plan.programs);
        return { plan, elfs, privateFolder: join(prefix, name), smoke: smokeTestWrapped };
      },
    };
  },

  torcx({ source, options }, name) {
    const prefix = parsePrefix(options.prefix ?? defaultPrefix);
    let image: string | undefined;
    return {
      async open(context) {
        const opened = await openTorcx(source, { ...options, context });
        image = opened.torcxName;
        return opened;
      },
      plan(rootfs) {
        const plan = planTorcx(rootfs, { name, prefix, ...defined({ image }) });
        return {
          plan,
          elfs: plan.elfs,
          privateFolder: join(prefix, name),
          notices: wordMigration(plan),
          texts: [{ name: `${name}.torcx.butane.yaml`, text: formatMigrationButane(plan) }],
        };
      },
    };
  },

  pack: ({ source, options }) => ({
    open: imageOpener(source, options),
    plan(rootfs) {
      const plan = planFolder(rootfs);
      if (plan.actions.length === 0 && options.shipEtc === undefined) {
        throw new FlixwrapError("extension-empty", {
          what: "the folder has nothing for an extension",
          where: source,
          wanted: "usr or opt, as on the host: usr/bin/TOOL",
        });
      }
      const files = plan.actions.flatMap((action) =>
        action.kind === "copy" && action.from.type === "file" ? [action.from] : [],
      );
      return { plan, elfs: readElfs(rootfs, files) };
    },
  }),
};

/** Units to be enabled that are no entries of their own: as entries they get what Flatwrap gives to services. */
function unitEntries(rootfs: Rootfs, entries: readonly Entry[], enable: readonly string[]): Entry[] {
  const known = new Set(entries.map(({ target }) => target));
  return enable.flatMap((name) => {
    const target = extPath(`${unitFolder}/${unitFileName(name)}`);
    const node = known.has(target) ? undefined : findUnit(rootfs, unitFileName(name));
    return node === undefined ? [] : [{ source: node.path, target }];
  });
}

function imageOpener(source: string, options: ConvertOptions): Converter["open"] {
  const reference = parseReference(source);
  return (context) => openImage(reference, { ...options, context });
}

/** The folder for private files, unless `--prefix` names another one. */
export const defaultPrefix = extPath("/usr/lib/flixwrap");

function readElfs(rootfs: Rootfs, nodes: readonly RootNode[]): ElfFile[] {
  return nodes.filter((node) => isElf(rootfs.open(node))).map((node) => readElf(rootfs.open(node), node.path));
}
