import { basename } from "node:path";
import { type Context, takeBreath } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { checkNames, type CheckOptions, checkTree, refuseErrors, wordFinding } from "../extension/check/check.ts";
import type { FinishedPlan } from "../extension/finish.ts";
import { formatChecksums } from "../extension/publish/checksums.ts";
import { type NamedText, planUpdateFiles } from "../extension/publish/sysupdate.ts";
import { buildTree, type ExtensionTree } from "../extension/tree.ts";
import { isFileOf } from "../extension/check/rules-release.ts";
import { checkOutput } from "../host/output.ts";
import { type Format, packers } from "../pack/formats.ts";
import { checkPackOptions, type ImageFile, packTree, type PackRequest, planOutput } from "../pack/pack.ts";
import { checkKey, publishImage, type PublishOptions } from "../pack/publish.ts";
import type { ConvertOptions } from "./request.ts";
import { runSmokeTests, smokeTestAlone, type SmokeTest } from "./smoke.ts";

/** What was written. */
export interface Shipped {
  /** Missing after a dry run. */
  readonly file?: ImageFile;
  /** What the checks found that stops no build; it was told as events already. */
  readonly findings: readonly string[];
  /** Paths of what was written beside the image. */
  readonly beside: readonly string[];
}

/** Which extension is shipped, and what its converter adds. */
export interface ShipRequest {
  readonly name: string;
  /** systemd's word; undefined for any. */
  readonly architecture: string | undefined;
  /** More files for beside the image, with `--butane`. */
  readonly texts?: readonly NamedText[];
  /** How a smoke test runs; alone when undefined. */
  readonly smoke?: SmokeTest;
}

/**
 * What is wrong with the output and what is written beside it is told before anything is fetched.
 * @throws FlixwrapError `usage`, `host-output-folder`, `host-output-exists`, `extension-…`.
 */
export async function checkShipping(
  name: string,
  options: ConvertOptions,
  /** Whether the converter has files of its own for `--butane`. */
  hasTexts: boolean,
  context: Context,
): Promise<void> {
  const { imageVersion: version, privateKey, certificate } = options;
  if ((privateKey === undefined) !== (certificate === undefined)) {
    throw new FlixwrapError("usage", { what: "--private-key and --certificate go together" });
  }
  if (version !== undefined && !/^[\w.+~^:-]+$/.test(version)) {
    const wanted = "letters, digits and . + ~ ^ : _ -";
    throw new FlixwrapError("usage", { what: "not a version for a file name", got: version, wanted });
  }
  if (options.output === "-") {
    const hint = "a file of that name is written ./-";
    throw new FlixwrapError("usage", { what: "no image is written to standard output", got: "--output -", hint });
  }
  const request = packRequest(name, "any", options);
  checkPackOptions(request);
  checkNames(checkOptions(options));
  checkBeside(request.format, updateSource(name, options), hasTexts, options);
  if (options.dryRun === true) return;
  if (options.gpgKey !== undefined) await checkKey(options.gpgKey, context);
  // With a version, the name waits for the architecture.
  if (options.output !== undefined || version === undefined) await checkOutput(planOutput(name, request));
}

/** From a finished plan to the file: tree, checks, smoke tests, packer, files beside the image. */
export async function shipPlan(
  plan: FinishedPlan,
  { name, architecture = "any", texts = [], smoke = smokeTestAlone }: ShipRequest,
  options: ConvertOptions,
  context: Context,
): Promise<Shipped> {
  const request = packRequest(name, architecture, options);
  const update = updateSource(name, options);
  context.emit({ kind: "step", step: "plan", detail: summarise(plan) });
  await takeBreath(context);
  const tree = buildTree(plan, {
    name,
    ownership: options.keepOwners ? "keep" : "root",
    allowSuid: options.allowSuid ?? false,
  });
  await takeBreath(context);
  const findings = checkAll(tree, options, context);
  await takeBreath(context);
  tellFileName(name, request, options, context);
  if (options.dryRun) return { findings, beside: [] };

  await runSmokeTests(tree, options.smoke ?? [], smoke, context);
  const file = await packTree(tree, request, context);
  return { file, findings, beside: await publish(file, plan, { name, texts, update }, options, context) };
}

function packRequest(name: string, architecture: string, options: ConvertOptions): PackRequest {
  const { format = "squashfs", imageVersion: version, privateKey, certificate } = options;
  // The name that sysupdate's pattern NAME-@v-%a.raw finds.
  const output = options.output ?? (version === undefined ? undefined : `${name}-${version}-${architecture}.raw`);
  const signing = privateKey === undefined || certificate === undefined ? undefined : { privateKey, certificate };
  const { epoch, compression, level, blockSize, size, filesystem, seed } = options;
  return { format, ...defined({ output, epoch, compression, level, blockSize, size, filesystem, seed, signing }) };
}

/** Refuses what would be passed over in silence: a Butane file without anything to tell, an index of a folder. */
function checkBeside(
  format: Format,
  update: PublishOptions["update"],
  hasTexts: boolean,
  { butane, checksums, gpgKey, bestBefore }: ConvertOptions,
): void {
  if (butane && update === undefined && !hasTexts)
    throw new FlixwrapError("usage", { what: "--butane needs --update-url" });
  const asked = Object.entries({ butane, checksums, "gpg-key": gpgKey, "best-before": bestBefore });
  const [flag] = asked.find(([, value]) => value !== undefined && value !== false) ?? [];
  if (format === "dir" && flag !== undefined)
    throw new FlixwrapError("usage", { what: `--${flag} is for image files, not for --format dir` });
}

type UpdateTexts = {
  readonly name: string;
  readonly texts: readonly NamedText[];
  readonly update: PublishOptions["update"];
};

function checkOptions({ check, hostProfile }: ConvertOptions): CheckOptions {
  return defined({ skip: Array.isArray(check) ? check : undefined, hosts: hostProfile });
}

function checkAll(tree: ExtensionTree, options: ConvertOptions, context: Context): readonly string[] {
  const findings = checkTree(tree, checkOptions(options));
  const warnings = findings
    .filter(({ severity }) => severity === "warning")
    .map((finding) => `${wordFinding(finding)} [${finding.rule}]`);
  for (const message of warnings) context.emit({ kind: "warning", message });
  refuseErrors(findings);
  return warnings;
}

function publish(
  file: ImageFile,
  plan: FinishedPlan,
  { name, texts, update }: UpdateTexts,
  options: ConvertOptions,
  context: Context,
): Promise<readonly string[]> {
  const { checksums, gpgKey, butane, bestBefore } = options;
  const bills = [
    { name: `${name}.spdx.json`, text: plan.spdx },
    { name: `${name}.cdx.json`, text: plan.cycloneDx },
  ];
  const papers = [...(options.sbom ? bills : []), ...(options.butane ? texts : [])];
  const request = { name, ...defined({ checksums, gpgKey, butane, bestBefore, update }), papers };
  return publishImage(file, request, context);
}

/**
 * Where hosts get newer versions; with `--sysupdate`, which the shell tools had, it is Flatcar's server. Whatever is wrong
 * with it is told here, before anything is packed.
 */
function updateSource(name: string, options: ConvertOptions): PublishOptions["update"] {
  const details = defined({
    pattern: options.updatePattern,
    track: options.updateTrack,
    instances: options.updateInstances,
    target: options.updateTarget,
    link: options.updateLink,
  });
  const usual = options.sysupdate === true ? `https://extensions.flatcar.org/extensions/${name}/` : undefined;
  const url = options.updateUrl ?? usual;
  formatChecksums([], options.bestBefore);
  if (url !== undefined) {
    planUpdateFiles({ name, url, ...details });
    return { url, ...details };
  }
  const [detail] = Object.keys(details);
  if (detail !== undefined) throw new FlixwrapError("usage", { what: `--update-${detail} needs --update-url` });
  return undefined;
}

/** A host passes an image over that has another name than its extension, with no more than "No medium found" in its journal. */
function tellFileName(name: string, { format, output }: PackRequest, options: ConvertOptions, context: Context): void {
  if (output === undefined || packers[format].suffix !== ".raw" || options.anyFileName === true) return;
  const fileName = basename(output);
  if (isFileOf(fileName, name)) return;
  const message = `a host merges it as ${name}.raw only, not as ${fileName}: rename it there, or make it with --any-file-name`;
  context.emit({ kind: "notice", message });
}

function summarise({ actions }: FinishedPlan): string {
  const patched = actions.filter(({ kind }) => kind === "patch").length;
  const copied = (type: string): number =>
    actions.filter((action) => action.kind === "copy" && action.from.type === type).length;
  const links = copied("symlink") + actions.filter(({ kind }) => kind === "symlink").length;
  return `${counted(copied("file") + patched, "file")} (${patched} edited), ${counted(links, "link")}`;
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
