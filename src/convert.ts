import { architectureOfElf, findArchitecture } from "./core/architectures.ts";
import type { Context } from "./core/context.ts";
import { FlixwrapError } from "./core/errors.ts";
import type { Plan } from "./extension/plan.ts";
import { parseName, planRelease } from "./extension/release.ts";
import { buildTree } from "./extension/tree.ts";
import type { DlopenLevel } from "./loader/index.ts";
import { type Image, openImage } from "./oci/image.ts";
import { parseReference } from "./oci/reference.ts";
import type { Format } from "./pack/formats.ts";
import { type ImageFile, ownMark, packTree } from "./pack/pack.ts";
import { runSmokeTests } from "./smoke.ts";
import { readVersion } from "./version.ts";
import { parseEntry, parsePrefix } from "./wrap/entry.ts";
import { type FlixPlan, planFlix } from "./wrap/flix/plan.ts";

/** One conversion as the user asked for it. */
export interface Request {
  readonly converter: "flix";
  /** Reference of the image, as typed. */
  readonly source: string;
  readonly name: string;
  /** `PATH` or `SOURCE:TARGET`. */
  readonly entries: readonly string[];
  readonly options: ConvertOptions;
}

/** The names are those of the command line's options (docs/flix.md). */
export interface ConvertOptions {
  readonly platform?: string;
  readonly creds?: string;
  readonly cacheDir?: string;
  readonly output?: string;
  readonly format?: Format;
  readonly prefix?: string;
  readonly os?: string;
  readonly reload?: boolean;
  readonly allowSuid?: boolean;
  readonly keepOwners?: boolean;
  /** Seconds since 1970. */
  readonly epoch?: number;
  readonly lib?: readonly string[];
  readonly dlopen?: DlopenLevel;
  readonly smoke?: readonly string[];
  readonly dryRun?: boolean;
}

/** What came of it. */
export interface Outcome {
  readonly plan: Plan;
  readonly image: Pick<Image, "reference" | "digest" | "platform">;
  /** Missing after a dry run. */
  readonly file?: ImageFile;
}

/**
 * The whole journey: reference, image, root, closure, plan, tree, checks, packed file. Nothing else happens here.
 * @throws FlixwrapError for everything that can be told; nothing is left behind then.
 */
export async function convert(request: Request, context: Context): Promise<Outcome> {
  const { options } = request;
  // Whatever is wrong with the request is told before anything is fetched.
  const name = parseName(request.name);
  const entries = request.entries.map(parseEntry);
  const prefix = parsePrefix(options.prefix ?? "/usr/lib/flixwrap");
  const reference = parseReference(request.source);

  const opened = await openImage(reference, { ...options, context });
  try {
    const { image, rootfs } = opened;
    context.emit({
      kind: "step",
      step: "image",
      detail: [rootfs.description, image.platform].filter(Boolean).join(" "),
    });

    const plan = planFlix(rootfs, entries, {
      name,
      prefix,
      ...(options.lib === undefined ? {} : { libraries: options.lib }),
      ...(options.dlopen === undefined ? {} : { dlopen: options.dlopen }),
    });
    for (const message of plan.warnings) context.emit({ kind: "warning", message });
    context.emit({ kind: "step", step: "plan", detail: summarise(plan) });

    const release = planRelease({
      name,
      ...(options.os === undefined ? {} : { os: options.os }),
      ...describeArchitecture(plan, image),
      reload: options.reload ?? false,
      notes: { [ownMark]: readVersion(), ...(image.digest === undefined ? {} : { FLIXWRAP_IMAGE: image.digest }) },
    });
    const finished: Plan = { ...plan, actions: [...plan.actions, release] };
    const tree = buildTree(finished, {
      name,
      ownership: options.keepOwners ? "keep" : "root",
      allowSuid: options.allowSuid ?? false,
    });
    if (options.dryRun) return { plan: finished, image };

    await runSmokeTests(tree, options.smoke ?? [], context);
    const file = await packTree(
      tree,
      {
        format: options.format ?? "squashfs",
        ...(options.output === undefined ? {} : { output: options.output }),
        epoch: options.epoch ?? 0,
      },
      context,
    );
    return { plan: finished, image, file };
  } finally {
    opened.close();
  }
}

/** The architecture of the programs; without any, the image's; without that, any host will do. */
function describeArchitecture(plan: FlixPlan, image: Image): { architecture?: string } {
  const rows = new Set(plan.closure.objects.map(({ elf }) => architectureOfElf(elf)));
  const ofImage = findArchitecture(image.platform?.split("/")[1] ?? "");
  // A 32-bit program beside 64-bit ones runs on the 64-bit host.
  const widest = [...rows].toSorted((a, b) => (b?.elf.bits ?? 0) - (a?.elf.bits ?? 0))[0];
  const row = ofImage !== undefined && (rows.size === 0 || rows.has(ofImage)) ? ofImage : widest;
  if (rows.has(undefined)) {
    throw new FlixwrapError("wrap-unknown-architecture", {
      what: "no name is known for the architecture of these programs",
      items: plan.closure.objects
        .filter(({ elf }) => architectureOfElf(elf) === undefined)
        .map(({ node }) => node.path),
    });
  }
  return row === undefined ? {} : { architecture: row.systemd };
}

function summarise(plan: FlixPlan): string {
  const count = (kind: string): number => plan.actions.filter((action) => action.kind === kind).length;
  return `${count("copy") + count("patch")} files (${count("patch")} edited), ${count("symlink")} links`;
}
