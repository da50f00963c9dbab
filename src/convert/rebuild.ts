import type { Request } from "./request.ts";

/** Options that say how a run behaves or where it reads and writes, not what the extension is. */
const elsewhere = new Set([
  "creds",
  "privateKey",
  "certificate",
  "cacheDir",
  "tlsVerify",
  "caFile",
  "runCache",
  "engine",
  "output",
  "dryRun",
  "smoke",
  "trace",
  "json",
  "quiet",
  "checksums",
  "updateUrl",
  "updatePattern",
  "updateTrack",
  "updateInstances",
  "updateTarget",
  "updateLink",
  "bestBefore",
  "sysupdate",
  "extFsSize",
  "gpgKey",
  "butane",
  "sbom",
]);

/**
 * The command line that makes the extension again, for its manifest: options in one order whatever order was
 * typed (but each one's values as typed: a `--run` builds on those before it), and without passwords and places of
 * this machine.
 */
export function rebuildCommand({ converter, source, name, entries, options }: Request): readonly string[] {
  const { flatwrap, ...common } = options;
  const words = Object.entries({ ...common, ...flatwrap })
    .filter(([key, value]) => !elsewhere.has(key) && value !== undefined && value !== "")
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, value]) => spell(key, value, converter));
  return ["flixwrap", converter, ...words, source, name, ...entries.toSorted()];
}

/** Options that are only ever taken away: `--no-users`. */
const negated = new Set(["state", "users", "papers", "check"]);

function spell(key: string, value: unknown, converter: Request["converter"]): string[] {
  if (negated.has(key) && value === true) return [];
  // flatwrap has an --etc of its own.
  const option = key === "shipEtc" && converter !== "flatwrap" ? "etc" : key;
  const words = option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const flag = negated.has(key) || value === false ? `--no-${words}` : `--${words}`;
  if (typeof value === "boolean") return [flag];
  return (Array.isArray(value) ? value : [value]).map((one) => `${flag}=${one}`);
}
