import type { Request } from "./request.ts";

/** Options that say how a run behaves or where it reads and writes, not what the extension is. */
const elsewhere = new Set([
  "creds",
  "privateKey",
  "certificate",
  "cacheDir",
  "tlsVerify",
  "caFile",
  "stdin",
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
 * The command line that makes the extension again, for its manifest: in one order whatever order was typed, and
 * without passwords and places of this machine.
 */
export function rebuildCommand({ converter, source, name, entries, options }: Request): readonly string[] {
  const { flatwrap, ...common } = options;
  const words = Object.entries({ ...common, ...flatwrap })
    .filter(([key, value]) => !elsewhere.has(key) && value !== undefined && value !== true && value !== "")
    .flatMap(([key, value]) => spell(`--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, value));
  const switches = Object.entries(options)
    .filter(
      ([key, value]) => value === true && !elsewhere.has(key) && !["state", "users", "papers", "check"].includes(key),
    )
    .map(([key]) => `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  return ["flixwrap", converter, ...[...words, ...switches].toSorted(), source, name, ...entries.toSorted()];
}

function spell(flag: string, value: unknown): string[] {
  if (value === false) return [flag.replace("--", "--no-")];
  return (Array.isArray(value) ? value : [value]).map((one) => `${flag}=${one}`);
}
