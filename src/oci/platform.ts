import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { architectures, findArchitecture } from "../core/architectures.ts";

/** What an image is made for, in OCI's words. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/**
 * Reads `linux/arm64/v8`, `arm64`, `aarch64`, `arm/v6`: every name of the architecture table, with or without
 * an operating system.
 * @throws FlixwrapError `oci-bad-platform`.
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  const [os, name, variant] = findName(parts[0]!) === undefined && parts.length > 1 ? parts : ["linux", ...parts];
  const known = findName(name ?? "");
  if (os === "" || known === undefined || parts.length > 3 || variant === "") {
    throw new FlixwrapError("oci-bad-platform", {
      what: "not a platform",
      got: text,
      wanted: `linux/ARCHITECTURE[/VARIANT] with one of ${architectures.map((row) => row.oci).join(", ")}`,
    });
  }
  const chosen = variant ?? known.variant;
  return { os: os!, architecture: known.architecture, ...defined({ variant: chosen }) };
}

/** Names that mean an architecture and a variant at once, beside those of the architecture table. */
const variants: Readonly<Record<string, Omit<Platform, "os">>> = {
  armel: { architecture: "arm", variant: "v6" },
  armv5l: { architecture: "arm", variant: "v5" },
  armv6l: { architecture: "arm", variant: "v6" },
};

function findName(name: string): Omit<Platform, "os"> | undefined {
  const row = findArchitecture(name);
  return variants[name] ?? (row && { architecture: row.oci, ...defined({ variant: row.variant }) });
}

/** As OCI writes it: `linux/arm64/v8`. */
export const wordPlatform = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, variant].filter((part) => part !== undefined).join("/");

/**
 * How well something made for `offered` serves `wanted`: 0 exactly, more for a lower variant (arm/v6 runs on
 * v7), undefined not at all. Another architecture never serves, although the processor could run it (386 on
 * amd64): an extension is merged by hosts of one architecture.
 */
export function platformDistance(offered: Platform, wanted: Platform): number | undefined {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return undefined;
  const distance = variantLevel(wanted) - variantLevel(offered);
  return distance >= 0 ? distance : undefined;
}

/** `v8.1` as 8.1. No variant is the lowest of 64-bit processors, and v7 on arm (containerd's normalisation). */
function variantLevel({ architecture, variant }: Platform): number {
  const usual = { amd64: 1, arm64: 8, arm: 7 }[architecture] ?? 0;
  const level = /^v(\d+(?:\.\d+)?)$/.exec(variant ?? "")?.[1];
  return level === undefined ? usual : Number(level);
}
