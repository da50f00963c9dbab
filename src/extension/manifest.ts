import { type ExtPath, extPath } from "../core/paths.ts";

/** How an extension came to be; `flixwrap info` shows it. */
export interface Manifest {
  readonly name: string;
  /** Version of flixwrap. */
  readonly flixwrap: string;
  readonly converter?: string;
  /** The image as typed, and its digest. */
  readonly image?: string;
  readonly digest?: string;
  readonly platform?: string;
  /** The command line that makes it again, word by word; passwords are never among them. */
  readonly command?: readonly string[];
  /** Loaders and libraries that the host is meant to bring: upstream built these programs for its glibc. */
  readonly hostLibraries?: readonly string[];
  /** Package URLs of all packages whose files are shipped. */
  readonly packages?: readonly string[];
}

/** The folder of an extension's papers: manifest and bills of materials. */
export const papersFolder = (name: string): ExtPath => extPath(`/usr/share/flixwrap/${name}`);

/** As JSON with a fixed order of keys. */
export function formatManifest(manifest: Manifest): string {
  const { name, flixwrap, converter, image, digest, platform, command, hostLibraries, packages } = manifest;
  return `${JSON.stringify({ name, flixwrap, converter, image, digest, platform, command, hostLibraries, packages }, null, 2)}\n`;
}

/** Reads a manifest; undefined for anything that is none. */
export function parseManifest(text: string): Manifest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  const isText = (key: string) => fields[key] === undefined || typeof fields[key] === "string";
  const isList = (key: string) =>
    fields[key] === undefined || (Array.isArray(fields[key]) && fields[key].every((word) => typeof word === "string"));
  const isSound =
    typeof fields["name"] === "string" &&
    typeof fields["flixwrap"] === "string" &&
    ["converter", "image", "digest", "platform"].every(isText) &&
    ["command", "hostLibraries", "packages"].every(isList);
  return isSound ? (value as Manifest) : undefined;
}
