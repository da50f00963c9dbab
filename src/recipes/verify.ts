import { FlixwrapError } from "../core/errors.ts";
import type { Check, Verification } from "./format.ts";
import { findSum } from "./sums.ts";
import { fillTemplate, type Values } from "./template.ts";
import type { Artifact, Digest } from "./download.ts";
import type { Web } from "./web.ts";

/** An artifact and how sure we are of it. */
export interface VerifiedArtifact extends Artifact {
  /** Who vouched for it (an address, "GitHub's release API", "the recipe", "the lock"), or undefined. */
  readonly verifiedBy?: string;
  /** Why nobody did. */
  readonly unverified?: string;
}

/** An artifact to be fetched, and what must vouch for it. */
export interface Wanted {
  readonly address: string;
  readonly verify: Verification;
  readonly values: Values;
  /** From a lock: then nothing else is asked. */
  readonly pinned?: Digest;
}

/**
 * Downloads an artifact and checks it against what the recipe names; the first check that upstream offers counts.
 * Undefined when upstream has no such file.
 * @throws FlixwrapError `recipe-checksum`, `recipe-sums`, `recipe-upstream-changed` and what the download throws
 */
export async function fetchVerified(wanted: Wanted, web: Web): Promise<VerifiedArtifact | undefined> {
  const digest = wanted.pinned ?? (await expectedDigest(wanted, web));
  const artifact = await web.artifact(wanted.address, digest);
  if (artifact === undefined) return undefined;
  if (digest !== undefined) return { ...artifact, verifiedBy: digest.source };
  const unverified =
    wanted.verify.kind === "unverified" ? wanted.verify.reason : "upstream offers no checksum for this version";
  return { ...artifact, unverified };
}

async function expectedDigest(wanted: Wanted, web: Web): Promise<Digest | undefined> {
  if (wanted.verify.kind === "unverified") return undefined;
  for (const check of wanted.verify.checks) {
    const digest = await ask(check, wanted, web);
    if (digest !== undefined) return digest;
  }
  return undefined;
}

async function ask(check: Check, { address, values }: Wanted, web: Web): Promise<Digest | undefined> {
  if (check.kind === "github") return githubDigest(address, web);
  if (check.kind === "digests") {
    const text = check.digests[values["version"] ?? ""]?.[values["arch"] ?? ""];
    return text === undefined ? undefined : parseDigest(text, "the recipe");
  }
  const sums = fillTemplate(check.sums, { ...values, url: address }, "verify");
  const page = await web.page(sums);
  const name =
    check.entry === undefined
      ? decodeAddress(address.slice(address.lastIndexOf("/") + 1))
      : fillTemplate(check.entry, values, "verify");
  return page && findSum(page.text, name, sums);
}

/** `sha256:HEX` or `sha512:HEX`; undefined for anything else. */
export function parseDigest(text: unknown, source: string): Digest | undefined {
  const match = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.exec(typeof text === "string" ? text.toLowerCase() : "");
  if (match === null) return undefined;
  const [algorithm, hex] = match[1]!.split(":") as ["sha256" | "sha512", string];
  return { algorithm, hex, source };
}

/** GitHub computes a digest for each asset since 2025; older assets have none. */
async function githubDigest(address: string, web: Web): Promise<Digest | undefined> {
  const match = /^https:\/\/github\.com\/([^/]+\/[^/]+)\/releases\/download\/([^/]+)\/([^/?#]+)$/.exec(address);
  if (match === null) {
    throw new FlixwrapError("recipe-verify", {
      what: "only assets of GitHub releases have a digest there",
      where: address,
    });
  }
  const [, repository, tag, asset] = match as unknown as [string, string, string, string];
  const api = `https://api.github.com/repos/${repository}/releases/tags/${tag}`;
  const page = await web.page(api, { accept: "application/json" });
  if (page === undefined) return undefined;
  const { assets } = parseRelease(page.text, api);
  const found = assets.find((one) => one?.name === decodeAddress(asset));
  return parseDigest(found?.digest, "GitHub's release API");
}

/** A part of an address as a name; one that is not encoded as it should be stays as it is. */
function decodeAddress(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

type Asset = { readonly name?: unknown; readonly digest?: unknown } | null;

function parseRelease(text: string, where: string): { assets: readonly Asset[] } {
  try {
    const value = JSON.parse(text) as { assets?: unknown };
    if (Array.isArray(value.assets)) return { assets: value.assets as Asset[] };
  } catch {
    // Told below.
  }
  throw new FlixwrapError("recipe-list", { what: "this is no release of GitHub's API", where });
}
