import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { baseName, type ExtPath, extPath, isWithin, type RootPath, rootPath } from "../core/paths.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/** What the user asks for: a path of the root, and where it shall stand in the extension. */
export interface Entry {
  readonly source: RootPath;
  readonly target: ExtPath;
  /** Set when the target is not the one written: `/usr/sbin/x` stands at `/usr/bin/x`. */
  readonly movedFrom?: ExtPath;
}

/**
 * `PATH` or `SOURCE:TARGET`; both absolute. A colon in a name is written `\:`.
 *
 * A sysext carries `/usr` and `/opt` alone (UAPI.4), so any other target is refused with the spelling that
 * works. `/usr/sbin` becomes `/usr/bin`: hosts whose `/usr/sbin` is a link (Flatcar since 2024-09, Fedora 42)
 * would lose that link to a real folder after the merge (systemd#42746).
 */
export function parseEntry(text: string): Entry {
  const [source, target = source, ...rest] = text.split(/(?<!\\):/).map((part) => part.replaceAll("\\:", ":"));
  if (!source?.startsWith("/") || !target?.startsWith("/") || rest.length > 0) {
    throw new FlixwrapError("wrap-entry-malformed", {
      what: "cannot read the entry",
      got: text || "nothing",
      wanted: "PATH or SOURCE:TARGET with absolute paths",
      ...(/^(\.\/)?[\w.-]+(\/[\w.-]+)*$/.test(text) && { hint: `write ${rootPath(`/${text}`)}` }),
    });
  }
  const from = rootPath(source);
  const wanted = extPath(target);
  if (!isInside(wanted)) {
    throw new FlixwrapError("wrap-target-outside", {
      what: "a system extension can only hold /usr and /opt",
      got: wanted,
      hint: spellingFor(from, wanted),
    });
  }
  const to = withoutSbin(wanted);
  return to === wanted ? { source: from, target: to } : { source: from, target: to, movedFrom: wanted };
}

/** A folder of the extension for private files, from `--prefix`; the same rules as for a target. */
export function parsePrefix(text: string): ExtPath {
  const prefix = extPath(text);
  if (!text.startsWith("/") || (prefix !== "/opt" && !isInside(prefix))) {
    throw new FlixwrapError("wrap-target-outside", {
      what: "the prefix must lie in /usr or /opt",
      got: text,
      wanted: "for example /usr/lib/flixwrap or /usr/local",
    });
  }
  return prefix;
}

const isInside = (path: ExtPath): boolean =>
  path !== "/usr" && path !== "/opt" && (isWithin(path, "/usr") || isWithin(path, "/opt"));

/** What to write instead. */
function spellingFor(from: RootPath, wanted: ExtPath): string {
  const isWhole = wanted === "/usr" || wanted === "/opt" || wanted === "/";
  if (isWhole && (from as string) === wanted) return `name the files and folders below ${wanted} that are needed`;
  // Nothing of the image was read yet. What stands at its very root (`/traefik`) is the program of a small image.
  const isProgram = isProgramFolder(wanted) || isProgramFolder(from) || (rootFile.test(from) && !rootFolder.test(from));
  const place = `write ${from}:/usr/${isProgram ? "bin" : "share"}/${baseName(wanted) || "root"} to place it there`;
  return isWithin(from, "/etc") && (from as string) === wanted ? `flix takes it by --etc ${from}; or ${place}` : place;
}

const rootFile = /^\/[^/.]+$/;
const rootFolder = /^\/(boot|data|dev|etc|home|lib\w*|media|mnt|proc|root|run|s?bin|srv|sys|tmp|var)$/;
const isProgramFolder = (path: string): boolean => /\/s?bin\//.test(path);

function withoutSbin(path: ExtPath): ExtPath {
  if (path === "/usr/sbin" || path === "/usr/local/sbin") return extPath(path.replace(/sbin$/, "bin"));
  return extPath(path.replace(/^(\/usr(?:\/local)?)\/sbin\//, "$1/bin/"));
}

/**
 * The error for entries that the root does not have, with where one of them is instead.
 * It is the caller's to throw: all that are missing are told at once.
 */
export function missingEntries(rootfs: Rootfs, missing: readonly RootPath[]): FlixwrapError {
  const alike = missing.flatMap((path) => programFolders.map((folder) => rootPath(`${folder}/${baseName(path)}`)));
  const suggestion = alike.find((path) => rootfs.resolve(path) !== undefined);
  const isPattern = missing.some((path) => /[*?[]/.test(path));
  const hint = suggestion === undefined ? (isPattern ? patternHint : undefined) : `the image has ${suggestion}`;
  return new FlixwrapError("wrap-entry-missing", {
    what: missing.length === 1 ? "no such path in the image" : "no such paths in the image",
    where: rootfs.description,
    got: missing.join(", "),
    ...defined({ hint }),
  });
}

const patternHint = "a PATH is no pattern: name the folder (of flix, --with-binaries and --lib take patterns)";

const programFolders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/** The error for an entry that is a device, a pipe or a socket. */
export const specialEntry = ({ source }: Entry, { type }: RootNode): FlixwrapError =>
  new FlixwrapError("wrap-entry-special", { what: "cannot ship", where: source, got: `a ${type}` });

/** The warning for a device, a pipe or a socket that was not asked for by name. */
export const wordLeftOut = ({ path, type }: RootNode): string =>
  `${path} is left out: a ${type} has no place in an extension`;

/** The warning that an entry stands elsewhere than written, if so. */
export const wordMoved = ({ movedFrom, target }: Entry): readonly string[] =>
  movedFrom === undefined ? [] : [`${movedFrom} goes to ${target}: a folder usr/sbin would hide the host's link`];

/** Whether some host's loader or ldconfig searches a folder: /usr/lib, /usr/lib64, /usr/lib/TRIPLET, /usr/local/lib. */
export const isLibraryFolder = (folder: ExtPath): boolean =>
  /^\/usr\/(local\/)?(lib|lib32|lib64|libx32)(\/[a-z0-9_]+-linux-[a-z0-9]+)?$/.test(folder);
