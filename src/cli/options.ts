import { InvalidArgumentError } from "commander";
import { findArchitecture } from "../core/architectures.ts";
import { dlopenLevels } from "../loader/dlopen.ts";
import { flatwrapOptionRows as viewRows } from "../wrap/flatwrap/options.ts";
import type { OptionRow } from "./option-row.ts";

/** Rows that stand beside what they are for. */
export { torcxOptionRows } from "../wrap/torcx/options.ts";

const parseSeconds = (text: string): number => {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError("wanted whole seconds since 1970.");
  return Number(text);
};

const parseCount = (text: string): number => {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("wanted a whole number.");
  return Number(text);
};

/** `64M`: bytes with the suffixes of truncate(1) and mke2fs(8), powers of 1024. */
const parseSize = (text: string): number => {
  const match = /^(\d{1,15})([KMGT]?)(?:i?B)?$/i.exec(text);
  if (match === null) throw new InvalidArgumentError("wanted bytes, or a number with K, M, G or T.");
  return Number(match[1]) * 1024 ** ["", "K", "M", "G", "T"].indexOf(match[2]!.toUpperCase());
};

const parseArchitecture = (text: string): string => {
  if (/^_?any$/.test(text)) return "any";
  const row = findArchitecture(text);
  if (row === undefined) throw new InvalidArgumentError("wanted x86-64, arm64 or another architecture, or any.");
  return row.systemd;
};

const formatNames = ["squashfs", "erofs", "ext4", "ext2", "btrfs", "ddi", "tar", "dir"];

const parsePlatform = (text: string): string => {
  const [system, architecture = system, variant] = text.includes("/") ? text.split("/") : ["linux", text];
  const row = findArchitecture(architecture ?? "");
  if (system !== "linux" || row === undefined) {
    throw new InvalidArgumentError("wanted linux/ARCH[/VARIANT] or an architecture such as arm64 or x86-64.");
  }
  return ["linux", row.oci, variant ?? row.variant].filter((part) => part !== undefined).join("/");
};

const parseSwitch = (text: string): boolean => {
  if (!/^(true|false)$/.test(text)) throw new InvalidArgumentError("wanted true or false.");
  return text === "true";
};

const grouped = (group: string, rows: readonly OptionRow[]): readonly OptionRow[] =>
  rows.map((row) => ({ ...row, group }));

const hidden = (rows: readonly OptionRow[]): readonly OptionRow[] => rows.map((row) => ({ ...row, hidden: true }));

/** What a wrapped program sees. */
export const flatwrapOptionRows = grouped("What the program sees:", viewRows);

/** The shell tools' switches: what is off is as if it were not given. */
const parseOn = (text: string): true | undefined => {
  if (/^(1|true|yes)$/.test(text)) return true;
  if (/^(0|false|no)$/.test(text)) return undefined;
  throw new InvalidArgumentError("wanted true or false.");
};

/** Where the image comes from. */
export const imageOptions = grouped("The image:", [
  {
    flags: "--platform <platform>",
    env: "ARCH",
    parse: parsePlatform,
    help: "platform to take from a multi-platform image: linux/arm64, or just arm64 (default: this machine's)",
  },
  {
    flags: "--creds <user:password>",
    env: "FLIXWRAP_CREDS",
    help: "credentials for the registry, instead of docker's and podman's files; better given by the variable",
  },
  { flags: "--tls-verify <true|false>", parse: parseSwitch, help: "false accepts any certificate, and plain HTTP" },
  { flags: "--ca-file <file>", help: "certificates (PEM) that vouch for the registry, besides the system's" },
  {
    flags: "--cache-dir <folder>",
    env: "FLIXWRAP_CACHE_DIR",
    help: "where layers are kept (default: $XDG_CACHE_HOME/flixwrap)",
  },
]);

/** What happens in the image before it is read. */
export const imageRunOptions = grouped("Commands in the image:", [
  {
    flags: "--run <command>",
    env: "CMD",
    isOneWord: true,
    repeatable: true,
    help: "run this in a copy of the image first (sh -c), in namespaces, without a daemon and without root",
  },
  { flags: "--run-network <network>", choices: ["host", "none"], default: "host", help: "the network that --run sees" },
  { flags: "--run-cache", help: "keep what --run made, and take it for the same image and commands the next time" },
  { flags: "--engine <engine>", choices: ["docker", "podman"], help: "let this daemon do what --run asks for" },
]);

/** What the extension is. */
export const extensionOptions = grouped("The extension:", [
  {
    flags: "--os <id>",
    env: "OS",
    default: "_any",
    help: "ID= of the hosts that may merge it; flatcar adds SYSEXT_LEVEL=1.0",
  },
  { flags: "--version-id <version>", help: "VERSION_ID= of the hosts that may merge it" },
  { flags: "--sysext-level <level>", help: "SYSEXT_LEVEL= of the hosts that may merge it" },
  { flags: "--scope <scope>", repeatable: true, help: "SYSEXT_SCOPE=: system, initrd, portable" },
  {
    flags: "--reload",
    help: "ask systemd (>= 255) to reload its units after the merge; set by itself when units are shipped",
  },
  {
    flags: "--restart-unit <unit>",
    repeatable: true,
    help: "unit that a newer systemd (>= 262) restarts after the merge",
  },
  { flags: "--reload-or-restart-unit <unit>", repeatable: true, help: "the same, reloaded where it can be" },
  {
    flags: "--release-field <key=value>",
    repeatable: true,
    help: "one more line of extension-release, such as SYSEXT_VERSION_ID=1.2; it informs, systemd compares only the others",
  },
  {
    flags: "--any-file-name",
    help: "hosts may merge it under any file name (xattr user.extension-release.strict=0), NAME-VERSION-ARCH.raw included",
  },
  {
    flags: "--enable <unit>",
    repeatable: true,
    help: "start this unit on the host, by its own [Install] section; taken from the image when it is no PATH",
  },
  {
    flags: "--upholds <form>",
    choices: ["drop-in", "symlink"],
    default: "drop-in",
    help: "how a unit is enabled; symlink needs systemd >= 254",
  },
  {
    flags: "--stop-on-unmerge",
    help: "stop the units when the extension is taken away, by a service that waits for it (systemd >= 262 does it for those of --restart-unit)",
  },
  { flags: "--no-state", help: "no folders in /var for the packages of the programs" },
  { flags: "--no-users", help: "no users and groups for units and files" },
  { flags: "--no-papers", help: "no bills of materials and no manifest inside the extension" },
  { flags: "--allow-suid", help: "keep setuid and setgid bits, which are refused otherwise" },
  { flags: "--keep-owners", help: "keep the image's owners instead of root for every file" },
]);

/** Files of /etc; `flatwrap` has another meaning for --etc. */
export const etcOptions = grouped("The extension:", [
  {
    flags: "--etc <path>",
    as: "shipEtc",
    repeatable: true,
    help: "ship this path of the image's /etc; the host copies it to its own /etc unless it is there (tmpfiles.d)",
  },
]);
/** `--etc` as `flatwrap` spells it. */
export const shipEtcOptions: readonly OptionRow[] = [{ ...etcOptions[0]!, flags: "--ship-etc <path>" }];

/** Where a converter puts private files. */
export const prefixOptions = grouped("Private files:", [
  {
    flags: "--prefix <folder>",
    default: "/usr/lib/flixwrap",
    help: "folder for the private files; they go to PREFIX/NAME",
  },
]);

/** What is written. */
export const packOptions = grouped("The output:", [
  {
    flags: "-o, --output <file>",
    help: "the image to write (default: NAME.raw; NAME.tar for --format tar, the folder NAME for dir)",
  },
  { flags: "--image-version <version>", help: "write NAME-VERSION-ARCH.raw, as systemd-sysupdate wants it" },
  { flags: "--format <format>", env: "FORMAT", choices: formatNames, default: "squashfs", help: "what to write" },
  {
    flags: "--compression <name>",
    help: "zstd (default), xz, lz4, gzip for squashfs; lz4hc (default), lz4, lzma, deflate, zstd, none for erofs",
  },
  { flags: "--level <number>", parse: parseCount, help: "the compressor's level, where it has levels" },
  { flags: "--block-size <bytes>", parse: parseCount, help: "bytes of a data block, where the format has a choice" },
  {
    flags: "--size <bytes>",
    parse: parseSize,
    help: "bytes of the file system (64M for short), for ext2 and ext4 (default: as small as may be)",
  },
  {
    flags: "--filesystem <name>",
    choices: ["squashfs", "erofs"],
    help: "the file system inside a DDI, beside its dm-verity hashes (default: squashfs)",
  },
  { flags: "--private-key <file>", help: "sign a DDI's root hash with this key (PEM); needs --certificate" },
  { flags: "--certificate <file>", help: "the certificate of that key (PEM), which hosts have in /etc/verity.d" },
  { flags: "--seed <text>", help: "a DDI's salt and identities come from this text (default: from its content)" },
  {
    flags: "--epoch <seconds>",
    env: ["SOURCE_DATE_EPOCH", "EPOCH"],
    default: "0",
    parse: parseSeconds,
    help: "time stamp of every file",
  },
]);

/** What is written beside the image. */
export const publishOptions = grouped("Beside the output:", [
  { flags: "--checksums", help: "SHA256SUMS.NAME" },
  { flags: "--gpg-key <key>", help: "sign it with this key of GnuPG: SHA256SUMS.NAME.gpg" },
  {
    flags: "--update-url <url>",
    help: "NAME.transfer and NAME.conf for systemd-sysupdate, from this folder of a server",
  },
  { flags: "--update-pattern <pattern>", help: "names of the images there (default: NAME-@v-%a.raw)" },
  {
    flags: "--update-track <version>",
    help: "only versions that begin so: v1.31 takes v1.31.5 and never v1.32; the files are NAME-v1.31.transfer and .conf",
  },
  {
    flags: "--update-instances <number>",
    parse: parseCount,
    help: "how many versions stay on the host (default: 3)",
  },
  { flags: "--update-target <folder>", help: "where they are on the host (default: /opt/extensions/NAME)" },
  {
    flags: "--update-link <path>",
    help: "the link to the newest, which systemd-sysext follows (default: /etc/extensions/NAME.raw)",
  },
  {
    flags: "--best-before <date>",
    help: "the day (2027-01-31) from which on systemd-sysupdate refuses SHA256SUMS.NAME as stale (since systemd 260; older ones pass over it)",
  },
  { flags: "--butane", help: "NAME.butane.yaml, which installs it on Flatcar; needs --update-url" },
  { flags: "--sbom", help: "NAME.spdx.json and NAME.cdx.json: the packages whose files are shipped" },
]);

/** The architecture, where no image and no program tells it. */
export const architectureOptions = grouped("The extension:", [
  {
    flags: "--arch <architecture>",
    env: "ARCH",
    parse: parseArchitecture,
    help: "ARCHITECTURE= of the hosts that may merge it: x86-64, arm64 and so on in any usual spelling, or any (default: that of its programs)",
  },
]);

/** Spellings of the shell tools, kept working. */
export const shellOptions = hidden([
  { flags: "--force-reload <true|false>", env: "RELOAD", as: "reload", parse: parseOn, help: "`--reload`" },
  {
    flags: "--output-file <name>",
    as: "output",
    parse: (text) => (text.endsWith(".raw") ? text : `${text}.raw`),
    help: "`--output`; `.raw` is added once",
  },
  {
    flags: "--ext-fs-size <size>",
    as: "extFsSize",
    parse: parseSize,
    help: "nothing: ext2 and ext4 images are as small as may be, as large as they must be",
  },
  {
    flags: "--sysupdate <true|false>",
    as: "sysupdate",
    parse: parseOn,
    help: "`--update-url`, of Flatcar's server (https://extensions.flatcar.org/extensions/NAME/) when that is not given",
  },
]);
/** The same for commands that take an image. */
export const shellImageOptions = hidden([
  { flags: "--arch <architecture>", as: "platform", parse: parsePlatform, help: "`--platform`" },
]);

/** What is checked before anything is packed. */
export const checkOptions = grouped("Checks:", [
  {
    flags: "--no-check <rule>",
    repeatable: true,
    help: "let this finding pass; its name stands in brackets behind it",
  },
  {
    flags: "--host-profile <name>",
    repeatable: true,
    help: "only check against these hosts: flatcar, fedora-atomic, debian, alpine (default: all)",
  },
]);

/** What a program loads late. */
export const lateOptions = grouped("What programs load late:", [
  {
    flags: "--lib <pattern>",
    env: "EXTRALIBS",
    repeatable: true,
    help: "a library that the programs load by dlopen: a path of the image, or a pattern such as '/usr/lib/*/libfoo.so*'; it comes with what it needs. The variable holds several, separated by spaces",
  },
  {
    flags: "--dlopen <level>",
    choices: dlopenLevels,
    default: "recommended",
    help: "how much of what the programs and libraries themselves declare to load late (.note.dlopen) comes along",
  },
  {
    flags: "--hwcaps <which>",
    choices: ["all", "baseline"],
    default: "all",
    help: "variants of libraries for newer processors (glibc-hwcaps): all that the image has, or none",
  },
]);

/** What is done to the files that are taken. */
export const stripOptions = grouped("The extension:", [
  {
    flags: "--strip",
    help: "drop symbol tables and debug information from the files that are taken, by this machine's strip or llvm-strip; what is mapped into memory stays byte for byte",
  },
]);

const parseKernel = (text: string): string => {
  if (!/^\d{1,4}(\.\d{1,4}){0,2}$/.test(text)) throw new InvalidArgumentError("wanted a version such as 6.1.");
  return text;
};

/** What the hosts have. */
export const kernelOptions = grouped("Checks:", [
  {
    flags: "--kernel <version>",
    parse: parseKernel,
    help: "the oldest Linux of the hosts; programs that say that they need a newer one are refused (default: 5.4)",
  },
]);

/** What programs start. */
export const startedOptions = grouped("What programs load late:", [
  {
    flags: "--with-binaries <pattern>",
    repeatable: true,
    help: "programs that the programs start by a compiled-in path: a path of the image, or a pattern such as '/usr/lib/git-core/*'; each is served as an entry and stands at its own path",
  },
]);

/** How `explain` tells it. */
export const explainOptions: readonly OptionRow[] = [
  {
    flags: "--json",
    conflicts: ["dot", "html"],
    help: "one JSON document: files with their needs, rules, packages and sizes",
  },
  { flags: "--dot", conflicts: ["json", "html"], help: "a graph for Graphviz" },
  { flags: "--html", conflicts: ["json", "dot"], help: "a page for the browser, in one file that loads nothing" },
];

/** What a program opens when it runs. */
export const traceOptions = grouped("What programs load late:", [
  {
    flags: "--trace <command>",
    repeatable: true,
    help: "run this in a copy of the image's root, under strace and without a network, and tell which files it opened that the extension would not have, as words to add to the command line",
  },
]);

/** `--quiet`, of commands that tell what they do. */
export const quietOption: OptionRow = { flags: "-q, --quiet", help: "only warnings and errors" };

/** How a run behaves. */
export const runOptions = grouped("This run:", [
  {
    flags: "--smoke <command>",
    repeatable: true,
    help: "run this in isolation before packing: nothing but the extension's own files, /proc, /dev and an empty /tmp, no network, no capabilities (root's run as nobody); a failure stops the build",
  },
  { flags: "--dry-run", help: "print the plan: every file, where it comes from and why; write nothing" },
  { flags: "--json", help: "machine-readable: the result as one JSON line on stdout, events as JSON lines on stderr" },
  quietOption,
]);

/** `check` */
export const verifyOptions: readonly OptionRow[] = [
  ...checkOptions,
  { flags: "--host <folder>", help: "a real host's root folder, more exact than any profile" },
  { flags: "--json", help: "one JSON line per file" },
];
/** `--sarif`, of `check`. */
export const sarifOption: OptionRow = { flags: "--sarif", help: "SARIF 2.1.0, which code hosts show" };
/** `--json`, of commands with one result. */
export const jsonOption: OptionRow = { flags: "--json", help: "one JSON line" };

/** `info` */
export const infoOptions: readonly OptionRow[] = [
  { flags: "--files", help: "every path with its type, mode, owner, size and link target, instead of the summary" },
  jsonOption,
];

/** `compare` */
export const compareOptions: readonly OptionRow[] = [{ flags: "--json", help: "one JSON array of the differences" }];

/** `try` */
export const tryOptions: readonly OptionRow[] = [
  { flags: "--host <folder>", help: "merge over this root folder (default: this machine)" },
  {
    flags: "--method <method>",
    choices: ["sysext", "overlay"],
    help: "systemd-sysext (the default where root has it) or the same stack by overlayfs",
  },
];

const recipesOption: OptionRow = {
  flags: "--recipes <folder>",
  env: "FLIXWRAP_RECIPES",
  help: "a folder of recipes of one's own; they come before flixwrap's",
};

/** Where recipes find what they download. */
const webOptions: readonly OptionRow[] = [
  {
    flags: "--mirror <from=to>",
    repeatable: true,
    help: "another address for all that begins with FROM; * stands for every address",
  },
  { flags: "--offline", help: "use nothing but the cache" },
];

const publishedOption = { flags: "--published <owner/repo>" } as const;

/** `list` */
export const listOptions: readonly OptionRow[] = [
  recipesOption,
  { flags: "--plain", help: "bare names" },
  { flags: "--json", help: "one JSON array with everything there is to say" },
];

/** `versions` */
export const versionsOptions: readonly OptionRow[] = [
  recipesOption,
  ...webOptions,
  { flags: "--latest", help: "only the newest, one for each branch that the recipe maintains" },
  {
    ...publishedOption,
    help: "what this GitHub repository has released as NAME-VERSION, instead of what upstream offers",
  },
  { flags: "--json", help: "one JSON array" },
];

/** `bake` */
export const bakeOptions: readonly OptionRow[] = [
  {
    flags: "--arch <architecture>",
    env: "ARCH",
    help: "x86-64 or arm64, in any usual spelling (default: this machine's)",
  },
  { flags: "--name <name>", help: "the extension's name (default: the recipe's)" },
  recipesOption,
  ...webOptions,
  { flags: "--locked", help: "take exactly what NAME.lock beside the image names: the same bytes again" },
  { flags: "--require-verified", help: "refuse what nobody vouches for" },
];

/** `bake --all` */
export const releaseOptions: readonly OptionRow[] = [
  {
    flags: "--all <file>",
    help: "bake a list, NAME VERSION a line or YAML, for both architectures, as NAME-VERSION-ARCH.raw",
  },
  { flags: "--jobs <number>", default: "1", parse: parseCount, help: "how many of the list at once" },
  { ...publishedOption, help: "leave out what this GitHub repository has released as NAME-VERSION" },
  { flags: "--plan", help: "only say what of the list would be baked, as JSON" },
  { flags: "--matrix", help: "the same as a matrix for GitHub Actions" },
];

/** `recipe new` */
export const skeletonOptions: readonly OptionRow[] = [
  {
    flags: "--kind <kind>",
    choices: ["static", "flix", "flatwrap"],
    default: "static",
    help: "what the skeleton shows",
  },
];

/** `index` */
export const indexOptions: readonly OptionRow[] = [
  { flags: "--url <url>", help: "where the server offers the folder; without it no update definitions are written" },
  {
    flags: "--best-before <date>",
    help: "the day (2027-01-31) from which on systemd-sysupdate refuses the index as stale (since systemd 260; older ones pass over it)",
  },
  { flags: "--gpg-key <key>", help: "sign the checksum files with this key of GnuPG" },
];

/** `pull` */
export const pullOptions: readonly OptionRow[] = [
  { flags: "--registry <host>", env: "REGISTRY", help: "registry of names that have none (default: docker.io)" },
  { flags: "--json", help: "one JSON line" },
];

/** `cache` */
export const cacheOptions: readonly OptionRow[] = [imageOptions.at(-1)!, jsonOption];
/** `cache prune` */
export const pruneOptions: readonly OptionRow[] = [
  { flags: "--max-bytes <bytes>", parse: parseCount, help: "what may stay, the last used first (default: nothing)" },
];
