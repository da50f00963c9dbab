import type { Architecture } from "../core/architectures.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { Plan } from "../extension/plan.ts";
import { openArchive, archiveTypeOf } from "./archive.ts";
import type { DownloadPart, ImagePart, Part, Verification } from "./format.ts";
import type { ImageRequest } from "./images.ts";
import type { LockedSource } from "./lock.ts";
import { requirePackage } from "./package-version.ts";
import { placeFiles } from "./place.ts";
import { convertEntries } from "./convert.ts";
import type { Ports, RecipeRequest } from "./plan.ts";
import { digestActions } from "./result-digest.ts";
import { fillTemplate, type Values } from "./template.ts";
import { fetchVerified, parseDigest, type VerifiedArtifact } from "./verify.ts";
import { listVersions, refuseVersion, type VersionSources } from "./versions.ts";

/** What the parts of one recipe share while they are planned. */
export interface Work {
  readonly request: RecipeRequest;
  readonly ports: Ports;
  readonly architecture: Architecture;
  readonly values: Values;
  readonly sources: VersionSources;
  readonly locked: LockedSource[];
  readonly unverified: string[];
  readonly open: { close(): void }[];
}

/** The plans that one part of a recipe gives. */
export const planPart = (part: Part, work: Work): Promise<Plan[]> =>
  part.kind === "download" ? planDownload(part, work) : planImage(part, work);

async function planDownload(part: DownloadPart, work: Work): Promise<Plan[]> {
  const artifact = await fetchArtifact(part.download, part.verify, work);
  const archive = await openArchive(artifact, {
    type: part.archive ?? archiveTypeOf(artifact.address),
    inside: part.inside.map((pattern) => fillTemplate(pattern, work.values, "inside")),
    strip: part.strip,
    cache: work.ports.cache,
  });
  work.open.push(archive);
  return [{ source: archive.root, actions: placeFiles(archive.root, part.files, work.values), warnings: [] }];
}

/** Downloads, checks, and notes what it was for the lock. */
async function fetchArtifact(template: string, verify: Verification, work: Work): Promise<VerifiedArtifact> {
  const { request, ports, values } = work;
  const address = fillTemplate(template, values, "download");
  const known = lockedSource(work, address);
  const pinned = known && parseDigest(known.digest, "the lock");
  const artifact = await fetchVerified({ address, verify, values, ...(pinned && { pinned }) }, ports.web);
  if (artifact === undefined) return missingAsset(address, work);
  const verifiedBy = known === undefined ? artifact.verifiedBy : known.verifiedBy;
  work.locked.push({
    source: address,
    digest: `sha256:${artifact.sha256}`,
    size: artifact.size,
    ...defined({ verifiedBy }),
  });
  if (artifact.unverified !== undefined) {
    if (request.requireVerified === true) {
      throw new FlixwrapError("recipe-unverified", {
        what: "nobody vouches for this download",
        where: address,
        got: artifact.unverified,
      });
    }
    work.unverified.push(`${address}: ${artifact.unverified}`);
  }
  return artifact;
}

function lockedSource({ request, architecture }: Work, source: string): LockedSource | undefined {
  if (request.lock === undefined) return undefined;
  const found = request.lock.architectures[architecture.systemd]?.find((one) => one.source === source);
  if (found !== undefined) return found;
  throw new FlixwrapError("recipe-locked", {
    what: "the lock does not have this source",
    where: source,
    got: `a lock for ${Object.keys(request.lock.architectures).join(", ")}`,
    hint: "bake once without --locked",
  });
}

/** Says whether the version is unknown or only this file of it is missing. */
async function missingAsset(address: string, { request, architecture, values, sources }: Work): Promise<never> {
  const rules = request.recipe.file.versions;
  const version = values["version"] ?? "";
  const known = rules === undefined ? [] : await listVersions(rules, sources).catch(() => []);
  if (rules !== undefined && known.length > 0 && !known.includes(version))
    return refuseVersion(request.recipe.name, rules, version, sources);
  throw new FlixwrapError("recipe-missing-asset", {
    what: `upstream has no file of ${request.recipe.name} ${version} for ${architecture.systemd}`,
    where: address,
  });
}

async function planImage(part: ImagePart, work: Work): Promise<Plan[]> {
  const { ports, values, architecture } = work;
  const image = fillTemplate(part.image, values, "image");
  if (ports.images === undefined)
    throw new FlixwrapError("recipe-no-images", { what: "no images can be opened here", where: image });
  const inputs: ImageRequest["inputs"][number][] = [];
  for (const input of part.inputs) {
    const { path, size } = await fetchArtifact(input.download, input.verify, work);
    inputs.push({ to: fillTemplate(input.to, values, "inputs"), path, size });
  }
  const known = lockedSource(work, image);
  const opened = await ports.images.open({
    image,
    architecture,
    inputs,
    ...(known && { digest: known.digest }),
    ...(part.run !== undefined && { run: fillTemplate(part.run, values, "run") }),
  });
  work.open.push(opened);
  const { root } = opened;
  if (part.package !== undefined)
    requirePackage(root, fillTemplate(part.package, values, "package"), values["version"]!);
  const plans: Plan[] = [{ source: root, actions: placeFiles(root, part.files, values), warnings: [] }];
  if (part.convert !== undefined)
    plans.push(
      await convertEntries(part, opened, work.values, {
        name: work.request.name ?? work.request.recipe.name,
        prefix: work.request.prefix ?? "/usr/lib/flixwrap",
      }),
    );
  const result = part.run === undefined ? undefined : await digestActions(plans);
  if (known?.result !== undefined && known.result !== result) {
    throw new FlixwrapError("recipe-locked", {
      what: "the command in the image gives other files than when the lock was made",
      where: image,
      got: result ?? "none",
      wanted: known.result,
    });
  }
  work.locked.push({
    source: image,
    digest: opened.digest ?? `sha256:${"0".repeat(64)}`,
    ...defined({ result }),
  });
  return plans;
}
