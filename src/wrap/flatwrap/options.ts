import { FlixwrapError } from "../../core/errors.ts";
import { type ExtPath, type RootPath, rootPath } from "../../core/paths.ts";

/** How Flatwrap lays out an extension; every path absolute. */
export interface FlatwrapOptions {
  readonly name: string;
  /** Folder for the root and the scripts; they go to `PREFIX/NAME`. */
  readonly prefix: ExtPath;
  /** Host folders the program sees at the same place. */
  readonly host: readonly string[];
  /** Paths of the root that the program sees; undefined: all that no host folder covers. */
  readonly chroot?: readonly RootPath[];
  readonly etc: Origin;
  readonly var: Origin;
  readonly home: Origin;
  /** Single files that come from the host even if /etc is the root's. */
  readonly hostFiles: readonly string[];
  readonly binds: readonly Bind[];
  /** Globs of paths that are left out (minimatch). */
  readonly exclude: readonly string[];
  /** Only what the packages that own the entries contain, and the packages they depend on. */
  readonly onlyNeeded: boolean;
  readonly unitMode: "sandbox" | "wrapper";
  readonly allowSuid: boolean;
  readonly templates: FlatwrapTemplates;
}

/** Whose folder the program sees: the host's or the image's. */
export type Origin = "host" | "chroot";

/** `--bind HOST[:INSIDE][:ro][:file]` */
export interface Bind {
  readonly host: string;
  readonly inside: RootPath;
  readonly writable: boolean;
  /** A single file; a folder otherwise, unless the root has a file there. */
  readonly file: boolean;
}

/** The texts of `templates/flatwrap-*.sh`. */
export interface FlatwrapTemplates {
  readonly entry: string;
  readonly enter: string;
  readonly again: string;
}

/** The texts, by a function that reads a file of `templates/`. */
export const readFlatwrapTemplates = (read: (name: string) => string): FlatwrapTemplates => ({
  entry: read("flatwrap-entry.sh"),
  enter: read("flatwrap-enter.sh"),
  again: read("flatwrap-again.sh"),
});

/** What the command line gives: texts, or nothing. Names as in {@link flatwrapOptionRows}. */
export interface RawFlatwrapOptions {
  readonly etc?: string;
  readonly var?: string;
  readonly home?: string;
  readonly host?: string;
  readonly chroot?: string;
  readonly hostFiles?: string;
  readonly bind?: readonly string[];
  readonly exclude?: readonly string[];
  readonly onlyNeeded?: boolean;
  readonly unitMode?: string;
  readonly allowSuid?: boolean;
}

/**
 * One row per option of `flatwrap`, in the shape of src/cli/options; the variables are those of the shell tool.
 * Lists are separated by white space, as in the shell tool's variables.
 */
export const flatwrapOptionRows = [
  {
    flags: "--etc <origin>",
    env: "ETCMAP",
    choices: ["host", "chroot"],
    default: "host",
    help: "whose /etc the program sees; chroot is the image's",
  },
  { flags: "--var <origin>", env: "VARMAP", choices: ["host", "chroot"], default: "host", help: "whose /var" },
  {
    flags: "--home <origin>",
    env: "HOMEMAP",
    choices: ["host", "chroot"],
    default: "host",
    help: "whose /home and /root",
  },
  {
    flags: "--host <folders>",
    env: "HOST",
    default: "/dev /proc /sys /run /tmp /var/tmp",
    help: "the host's folders that the program sees besides, separated by spaces",
  },
  {
    flags: "--chroot <paths>",
    env: "CHROOT",
    help: "the image's paths the program sees, separated by spaces (default: all that is not the host's)",
  },
  {
    flags: "--host-files <files>",
    default: "/etc/resolv.conf /etc/hosts /etc/hostname /etc/passwd /etc/group",
    help: "single files of the host that stand in the image's /etc",
  },
  {
    flags: "--bind <host[:inside][:ro][:file]>",
    repeatable: true,
    help: "show a folder (or file) of the host inside; the program does not start on a host without it",
  },
  { flags: "--exclude <glob>", repeatable: true, help: "leave out these paths of the image: '/usr/share/doc/**'" },
  { flags: "--only-needed", help: "ship only the packages that own the entries, and those they depend on (dpkg, apk)" },
  {
    flags: "--unit-mode <mode>",
    choices: ["sandbox", "wrapper"],
    default: "sandbox",
    help: "how services see the root: by systemd's own RootDirectory=, or through the wrapper",
  },
] as const;

/**
 * Texts to values.
 * @throws FlixwrapError `usage` that names the option.
 */
export function parseFlatwrapOptions(
  raw: RawFlatwrapOptions,
  rest: Pick<FlatwrapOptions, "name" | "prefix" | "templates">,
): FlatwrapOptions {
  return {
    ...rest,
    etc: parseOrigin("--etc", raw.etc),
    var: parseOrigin("--var", raw.var),
    home: parseOrigin("--home", raw.home),
    host: parsePaths("--host (or the variable HOST)", raw.host ?? "/dev /proc /sys /run /tmp /var/tmp"),
    ...(raw.chroot === undefined ? {} : { chroot: parsePaths("--chroot (or the variable CHROOT)", raw.chroot) }),
    hostFiles: parsePaths("--host-files", raw.hostFiles ?? defaultHostFiles),
    binds: (raw.bind ?? []).map(parseBind),
    exclude: raw.exclude ?? [],
    onlyNeeded: raw.onlyNeeded ?? false,
    unitMode: raw.unitMode === "wrapper" ? "wrapper" : "sandbox",
    allowSuid: raw.allowSuid ?? false,
  };
}

const defaultHostFiles = "/etc/resolv.conf /etc/hosts /etc/hostname /etc/passwd /etc/group";

function parseOrigin(option: string, text = "host"): Origin {
  if (text === "host" || text === "chroot") return text;
  throw new FlixwrapError("usage", { what: `${option} is host or chroot`, got: text });
}

function parsePaths(option: string, text: string): RootPath[] {
  return text
    .split(/\s+/)
    .filter((path) => path !== "")
    .map((path) => {
      const clean = rootPath(path);
      if (path.startsWith("/") && clean !== "/") return clean;
      throw new FlixwrapError("usage", { what: `${option} takes absolute paths below /`, got: path });
    });
}

/** `HOST[:INSIDE][:ro][:file]`; a colon in a name is written `\:`. */
export function parseBind(text: string): Bind {
  const parts = text.split(/(?<!\\):/).map((part) => part.replaceAll("\\:", ":"));
  const flags = new Set<string>();
  while (parts.length > 1 && /^(ro|rw|file)$/.test(parts.at(-1)!)) flags.add(parts.pop()!);
  const [host = "", inside = host, ...more] = parts;
  if (!host.startsWith("/") || !inside.startsWith("/") || rootPath(inside) === "/" || more.length > 0) {
    throw new FlixwrapError("usage", {
      what: "cannot read --bind",
      got: text,
      wanted: "HOST[:INSIDE][:ro][:file] with absolute paths",
    });
  }
  return { host: rootPath(host), inside: rootPath(inside), writable: !flags.has("ro"), file: flags.has("file") };
}
