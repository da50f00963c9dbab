import { FlixwrapError } from "../core/errors.ts";

/** One published file of an extension. */
export interface Published {
  /** As in a release: `NAME-VERSION-ARCH.raw`, or a `.conf` or `.transfer`. */
  readonly file: string;
  /** Hexadecimal. */
  readonly sha256: string;
}

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

/**
 * The index files of a server, by path: `NAME/SHA256SUMS` for each extension and `SHA256SUMS` for all. systemd-sysupdate
 * takes file names alone, each once and in one order, whatever folder the images were found in.
 * @throws FlixwrapError `recipe-index` for one name with two contents
 */
export function planIndex(files: readonly Published[]): Map<string, string> {
  const digests = new Map<string, string>();
  const clashes: string[] = [];
  for (const { file, sha256 } of files) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    const before = digests.get(name);
    if (before !== undefined && before !== sha256) clashes.push(`${name}: ${before} and ${sha256}`);
    digests.set(name, sha256);
  }
  if (clashes.length > 0)
    throw new FlixwrapError("recipe-index", {
      what: "several files have one name but not one content",
      items: clashes,
    });
  const index = new Map<string, string>([["SHA256SUMS", wordSums(digests)]]);
  const names = new Set([...digests.keys()].flatMap((file) => parseImageName(file)?.name ?? []));
  for (const name of [...names].sort()) {
    const own = [...digests].filter(([file]) => ownerOf(file, names) === name);
    index.set(`${name}/SHA256SUMS`, wordSums(new Map(own)));
  }
  return index;
}

/** The extension a file belongs to; of `docker` and `docker-compose`, the longer name that fits. */
function ownerOf(file: string, names: ReadonlySet<string>): string | undefined {
  const image = parseImageName(file);
  if (image !== undefined) return image.name;
  const stem = file.replace(/\.(conf|transfer)$/, "");
  return [...names]
    .filter((name) => stem === name || stem.startsWith(`${name}-`))
    .sort((a, b) => b.length - a.length)[0];
}

const wordSums = (digests: ReadonlyMap<string, string>): string =>
  [...digests]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([file, sha256]) => `${sha256}  ${file}\n`)
    .join("");
