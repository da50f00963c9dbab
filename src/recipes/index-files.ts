import { formatChecksums } from "../extension/publish/checksums.ts";
import { planUpdateFiles } from "../extension/publish/sysupdate.ts";
import { branchOf, sortVersions } from "./version-order.ts";

/** One published file of an extension. */
export interface Published {
  /** As in a release: `NAME-VERSION-ARCH.raw`, or a `.conf` or `.transfer`. */
  readonly file: string;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** What the name of an image file tells. */
export interface ImageName {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/** The parts of `NAME-VERSION-ARCH.raw`; a version begins with a digit or v and a digit. Undefined for other names. */
export function parseImageName(file: string): ImageName | undefined {
  const match =
    /^([A-Za-z0-9][A-Za-z0-9._+-]*?)-(v?\d[^/]*)-(x86-64|arm64|x86|arm|riscv64|ppc64-le|s390x|loongarch64)\.raw$/.exec(
      file,
    );
  return match === null ? undefined : { name: match[1]!, version: match[2]!, architecture: match[3]! };
}

/** How {@link planIndex} words what it writes. */
export interface IndexOptions {
  /** Folder of the server that has a folder for each extension; without it no update definitions are written. */
  readonly url?: string;
  /** Extensions that get a second definition which stays on the branch of a version: kubernetes -> minor. */
  readonly branches?: ReadonlyMap<string, "major" | "minor">;
  /** Whether the checksum files are signed. */
  readonly signed?: boolean;
  /** `2027-01-31`: the day from which on clients refuse the index as stale. */
  readonly bestBefore?: string;
}

/**
 * The index files of a server, by path: `SHA256SUMS` for all files, and for each extension `NAME/SHA256SUMS`,
 * `NAME.conf` and `NAME.transfer`, and `NAME/NAME-vX.Y.conf` for each branch. The images themselves belong into
 * `NAME/`, where the definitions look for them.
 * @throws FlixwrapError `pack-checksums` for one name with two contents, `pack-sysupdate` for a bad address
 */
export function planIndex(files: readonly Published[], options: IndexOptions = {}): Map<string, string> {
  const plain = files.map(({ file, sha256 }) => ({ name: file.slice(file.lastIndexOf("/") + 1), sha256 }));
  const images = plain.flatMap(({ name }) => parseImageName(name) ?? []);
  const names = [...new Set(images.map(({ name }) => name))].sort();
  const index = new Map([["SHA256SUMS", formatChecksums(plain, options.bestBefore)]]);
  for (const name of names) {
    const own = plain.filter((file) => ownerOf(file.name, names) === name);
    index.set(`${name}/SHA256SUMS`, formatChecksums(own, options.bestBefore));
    if (options.url === undefined) continue;
    const source = { name, url: `${options.url.replace(/\/*$/, "")}/${name}/`, verify: options.signed ?? false };
    for (const file of planUpdateFiles(source)) index.set(file.name, file.text);
    for (const track of tracksOf(
      images.filter((image) => image.name === name),
      options.branches?.get(name),
    )) {
      for (const file of planUpdateFiles({ ...source, track })) index.set(`${name}/${file.name}`, file.text);
    }
  }
  return index;
}

/** `v1.32` of kubernetes' v1.32.2: the branches that some images belong to, as their versions are written. */
function tracksOf(images: readonly ImageName[], level: "major" | "minor" | undefined): string[] {
  if (level === undefined) return [];
  return sortVersions(images.map(({ version }) => (version.startsWith("v") ? "v" : "") + branchOf(version, level)));
}

/** The extension a file belongs to; of `docker` and `docker-compose`, the longer name that fits. */
function ownerOf(file: string, names: readonly string[]): string | undefined {
  const image = parseImageName(file);
  if (image !== undefined) return image.name;
  const stem = file.replace(/\.(conf|transfer)$/, "");
  return names.filter((name) => stem === name || stem.startsWith(`${name}-`)).sort((a, b) => b.length - a.length)[0];
}
