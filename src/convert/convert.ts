import type { Context } from "../core/context.ts";
import { type CheckOptions, checkTree, refuseErrors, wordFinding } from "../extension/check/check.ts";
import { type FinishedPlan, finishPlan, type FinishOptions } from "../extension/finish.ts";
import { parseName } from "../extension/release.ts";
import { buildTree, type ExtensionTree } from "../extension/tree.ts";
import { type Image, openImage } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import { type ImageFile, packTree } from "../pack/pack.ts";
import { publishImage } from "../pack/publish.ts";
import { readVersion } from "../version.ts";
import { chooseArchitecture } from "./architecture.ts";
import { type Converted, planners } from "./planners.ts";
import { rebuildCommand } from "./rebuild.ts";
import type { ConvertOptions, Request } from "./request.ts";
import { runSmokeTests } from "./smoke.ts";

/** What came of it. */
export interface Outcome {
  readonly plan: FinishedPlan;
  readonly image: Pick<Image, "reference" | "digest" | "platform">;
  /** Missing after a dry run. */
  readonly file?: ImageFile;
  /** Paths of what was written beside the image. */
  readonly beside: readonly string[];
}

/**
 * The whole journey: reference, image, root, plan, tree, checks, packed file. Nothing else happens here.
 * @throws FlixwrapError for everything that can be told; nothing is left behind then.
 */
export async function convert(request: Request, context: Context): Promise<Outcome> {
  const { options } = request;
  const name = parseName(request.name);
  const planner = planners[request.converter](request, name);
  const reference = parseReference(request.source);

  const opened = await openImage(reference, { ...options, context });
  try {
    const { rootfs } = opened;
    const { digest, platform } = opened.image;
    // With its digest instead of a tag: what is said of the image stays true, however it was asked for.
    const image = {
      reference: digest === undefined ? opened.image.reference : rootfs.description,
      ...(digest && { digest }),
      ...(platform && { platform }),
    };
    context.emit({ kind: "step", step: "image", detail: [rootfs.description, platform].filter(Boolean).join(" ") });

    const converted = planner(rootfs);
    for (const message of converted.plan.warnings) context.emit({ kind: "warning", message });
    const plan = finishPlan(converted.plan, finishOptions(request, name, converted, image));
    context.emit({ kind: "step", step: "plan", detail: summarise(plan) });

    const tree = buildTree(plan, {
      name,
      ownership: options.keepOwners ? "keep" : "root",
      allowSuid: options.allowSuid ?? false,
    });
    checkAll(tree, options, context);
    if (options.dryRun) return { plan, image, beside: [] };

    await runSmokeTests(tree, options.smoke ?? [], context);
    const file = await packTree(tree, packRequest(request, name, converted, image), context);
    return { plan, image, file, beside: await publish(file, plan, name, options, context) };
  } finally {
    opened.close();
  }
}

function finishOptions(request: Request, name: string, converted: Converted, image: Outcome["image"]): FinishOptions {
  const { options, converter } = request;
  const architecture = chooseArchitecture(converted.elfs, image.platform)?.systemd;
  const { privateFolder } = converted;
  return {
    release: {
      name,
      ...defined({
        architecture,
        os: options.os,
        versionId: options.versionId,
        sysextLevel: options.sysextLevel,
        scope: options.scope,
        reload: options.reload,
        restartUnits: options.restartUnit,
        reloadOrRestartUnits: options.reloadOrRestartUnit,
      }),
      notes: {
        FLIXWRAP_VERSION: readVersion(),
        ...(image.digest === undefined ? {} : { FLIXWRAP_IMAGE: image.digest }),
      },
    },
    ...defined({
      enable: options.enable,
      upholds: options.upholds,
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

function checkAll(tree: ExtensionTree, { check, hostProfile }: ConvertOptions, context: Context): void {
  const options: CheckOptions = defined({ skip: Array.isArray(check) ? check : undefined, hosts: hostProfile });
  const findings = checkTree(tree, options);
  for (const finding of findings) {
    if (finding.severity === "warning")
      context.emit({ kind: "warning", message: `${wordFinding(finding)} [${finding.rule}]` });
  }
  refuseErrors(findings);
}

function packRequest(request: Request, name: string, converted: Converted, image: Outcome["image"]) {
  const { options } = request;
  const { format = "squashfs", imageVersion: version } = options;
  const architecture = chooseArchitecture(converted.elfs, image.platform)?.systemd ?? "any";
  // The name that sysupdate's pattern NAME-@v-%a.raw finds.
  const output = options.output ?? (version === undefined ? undefined : `${name}-${version}-${architecture}.raw`);
  const { epoch, compression, level, blockSize, size } = options;
  return { format, ...defined({ output, epoch, compression, level, blockSize, size }) };
}

function publish(
  file: ImageFile,
  plan: FinishedPlan,
  name: string,
  options: ConvertOptions,
  context: Context,
): Promise<readonly string[]> {
  const { checksums, gpgKey, butane, updateUrl } = options;
  const papers = [
    { name: `${name}.spdx.json`, text: plan.spdx },
    { name: `${name}.cdx.json`, text: plan.cycloneDx },
  ];
  return publishImage(
    file,
    {
      name,
      ...defined({ checksums, gpgKey, butane, update: updateUrl === undefined ? undefined : { url: updateUrl } }),
      ...(options.sbom ? { papers } : {}),
    },
    context,
  );
}

function summarise({ actions }: FinishedPlan): string {
  const count = (kind: string): number => actions.filter((action) => action.kind === kind).length;
  return `${count("copy") + count("patch")} files (${count("patch")} edited), ${count("symlink")} links`;
}

/** The same record without keys whose value is undefined. */
function defined<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
