import { type Context, takeBreath } from "../core/context.ts";
import { type FinishedPlan, finishPlan, type FinishOptions } from "../extension/finish.ts";
import { parseName, parseNotes } from "../extension/release.ts";
import { withTempFolder } from "../host/temp.ts";
import type { Image } from "../oci/image.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { readVersion } from "../host/version.ts";
import { chooseArchitecture } from "./architecture.ts";
import { type Converted, type Converter, converters } from "./converters.ts";
import { rebuildCommand } from "./rebuild.ts";
import { releaseFields } from "./release.ts";
import type { Request } from "./request.ts";
import { defined } from "../core/defined.ts";
import { checkShipping, type Shipped, shipPlan } from "./ship.ts";

/** What came of it. */
export interface Outcome extends Shipped {
  readonly plan: FinishedPlan;
  readonly image: Pick<Image, "reference" | "digest" | "platform">;
}

/**
 * The whole journey: reference, image, root, plan, tree, checks, packed file. Nothing else happens here.
 * @throws FlixwrapError for everything that can be told; nothing is left behind then.
 */
export async function convert(request: Request, context: Context): Promise<Outcome> {
  const { options } = request;
  const name = parseName(request.name);
  const converter = converters[request.converter](request, name);
  await checkShipping(name, options, request.converter === "torcx", context);

  const opened = await converter.open(context);
  try {
    const { rootfs } = opened;
    const { digest, platform } = opened.image;
    // With its digest instead of a tag, where it can be asked for so: what is said of the image stays true.
    const image = {
      reference: opened.image.pinned ?? opened.image.reference,
      ...(digest && { digest }),
      ...(platform && { platform }),
    };
    context.emit({ kind: "step", step: "image", detail: [rootfs.description, platform].filter(Boolean).join(" ") });

    const finish = (root: Rootfs): Promise<Outcome> =>
      carryOut(root, converter, { request, name, image, source: opened.image }, context);
    if (options.strip !== true) return await finish(rootfs);
    const { stripRoot } = await import("./strip.ts");
    return await withTempFolder(context, async (folder) =>
      finish(await stripRoot(rootfs, converter.plan(rootfs, opened.image).plan, folder, context)),
    );
  } finally {
    opened.close();
  }
}

interface Conversion {
  readonly request: Request;
  readonly name: string;
  /** As it is told. */
  readonly image: Outcome["image"];
  /** As it was opened. */
  readonly source: Image;
}

/** From the root to the file. */
async function carryOut(
  rootfs: Rootfs,
  converter: Converter,
  { request, name, image, source }: Conversion,
  context: Context,
): Promise<Outcome> {
  const { options } = request;
  await takeBreath(context);
  const converted = converter.plan(rootfs, source);
  await takeBreath(context);
  const { arch = chooseArchitecture(converted.elfs, image.platform)?.systemd } = options;
  const architecture = arch === "any" ? undefined : arch;
  for (const message of converted.plan.warnings) context.emit({ kind: "warning", message });
  const plan = finishPlan(converted.plan, finishOptions(request, name, architecture, converted, image));
  if (options.trace !== undefined) {
    const { traceCommands } = await import("./trace.ts");
    await traceCommands(rootfs, plan, options.trace, context);
  }
  const shipped = await shipPlan(
    plan,
    { name, architecture, ...defined({ texts: converted.texts, smoke: converted.smoke }) },
    options,
    context,
  );
  for (const message of converted.notices ?? []) context.emit({ kind: "notice", message });
  return { plan, image, ...shipped };
}

function finishOptions(
  request: Request,
  name: string,
  architecture: string | undefined,
  converted: Converted,
  image: Outcome["image"],
): FinishOptions {
  const { options, converter } = request;
  const { privateFolder } = converted;
  return {
    release: {
      name,
      ...releaseFields(options),
      // Torcx images are units above all.
      ...defined({ architecture, reload: options.reload ?? (converter === "torcx" ? true : undefined) }),
      notes: {
        ...parseNotes(options.releaseField ?? []),
        FLIXWRAP_VERSION: readVersion(),
        ...defined({ FLIXWRAP_IMAGE: image.digest }),
      },
    },
    ...defined({
      enable: options.enable,
      upholds: options.upholds,
      stopOnUnmerge: options.stopOnUnmerge,
      etc: options.shipEtc,
      state: options.state,
      users: options.users,
      papers: options.papers,
      keepOwners: options.keepOwners,
      epoch: options.epoch,
      privateFolder,
    }),
    manifest: {
      flixwrap: readVersion(),
      converter,
      image: image.reference,
      ...defined({ digest: image.digest, platform: image.platform }),
      command: rebuildCommand({ ...request, source: image.reference }),
    },
  };
}
