import type { Context } from "../core/context.ts";
import { printable } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { type Manifest, papersFolder, parseManifest } from "../extension/manifest.ts";
import { parseRelease, releaseFolder } from "../extension/release.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { openExtension } from "./open.ts";

/** What an extension is, as far as it says so itself. */
export interface Description {
  readonly file: string;
  readonly format: string;
  /** Bytes of the file; of a folder 0. */
  readonly size: number;
  readonly name: string | undefined;
  /** The lines of extension-release. */
  readonly release: Readonly<Record<string, string>>;
  readonly files: number;
  readonly units: readonly string[];
  /** Written by flixwrap; missing in other extensions. */
  readonly manifest?: Manifest;
  /** What needs a newer systemd than 248, or behaves otherwise before. */
  readonly versions: readonly string[];
}

/** No text of an extension is read beyond this; its own papers are far smaller. */
const largestText = 16 * 1024 * 1024;

/** @throws FlixwrapError `pack-no-image`, `pack-damaged-image`. */
export async function describeExtension(file: string, context: Context): Promise<Description> {
  const opened = await openExtension(file, context);
  try {
    const { rootfs, format, size } = opened;
    const start = "extension-release.";
    const name = rootfs
      .list(rootPath(releaseFolder))
      .find((entry) => entry.startsWith(start))
      ?.slice(start.length);
    const release = Object.fromEntries(
      parseRelease(name === undefined ? "" : (readText(rootfs, `${releaseFolder}/${start}${name}`) ?? "")),
    );
    const paths = [...rootfs.walk(rootPath("/"))];
    const units = paths.flatMap(
      ({ path }) => /^\/usr\/(?:local\/)?lib\/systemd\/system\/([^/]+\.[a-z]+)$/.exec(path)?.[1] ?? [],
    );
    const manifest =
      name === undefined ? undefined : parseManifest(readText(rootfs, `${papersFolder(name)}/manifest.json`) ?? "");
    return {
      file,
      format,
      size,
      name,
      release,
      files: paths.filter(({ type }) => type === "file").length,
      units,
      ...(manifest === undefined ? {} : { manifest }),
      versions: wordVersions(
        release,
        paths.map(({ path }) => path),
      ),
    };
  } finally {
    opened.close();
  }
}

function readText(rootfs: Rootfs, path: string): string | undefined {
  const node = rootfs.resolve(rootPath(path));
  if (node?.type !== "file" || node.size > largestText) return undefined;
  return Buffer.from(rootfs.open(node).read(0, node.size)).toString("utf8");
}

/** What works from which systemd (sysext.md, section 5; NEWS of systemd 248 to 262). */
const versionRows: readonly {
  readonly since: number;
  readonly what: string;
  readonly isUsed: (release: Description["release"], paths: readonly string[]) => boolean;
}[] = [
  {
    since: 252,
    what: "ID=_any and ARCHITECTURE= are understood; before, ID= must be the host's",
    isUsed: ({ ID }) => ID === "_any",
  },
  {
    since: 254,
    what: "units enabled by .upholds/ links are started",
    isUsed: (_, paths) => paths.some((path) => path.includes(".upholds/")),
  },
  {
    since: 255,
    what: "EXTENSION_RELOAD_MANAGER= lets new units be seen after the merge; before, run systemctl daemon-reload",
    isUsed: ({ EXTENSION_RELOAD_MANAGER }) => EXTENSION_RELOAD_MANAGER === "1",
  },
  {
    since: 262,
    what: "units are restarted after the merge; before, do it by hand",
    isUsed: (release) => "EXTENSION_RESTART_UNITS" in release || "EXTENSION_RELOAD_OR_RESTART_UNITS" in release,
  },
];

const wordVersions = (release: Description["release"], paths: readonly string[]): string[] =>
  versionRows.filter(({ isUsed }) => isUsed(release, paths)).map(({ since, what }) => `systemd ${since}: ${what}`);

/** For people, a fact a line. */
export function wordDescription({
  file,
  format,
  size,
  name,
  release,
  files,
  units,
  manifest,
  versions,
}: Description): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["file", `${file} (${format}${size === 0 ? "" : `, ${size} bytes`})`],
    ["name", name ?? "none: it has no extension-release, no host merges it"],
    ...Object.entries(release).map(([key, value]) => [key, value] as const),
    ["files", String(files)],
    ["units", units.length === 0 ? undefined : units.join(" ")],
    ["made by", manifest && `flixwrap ${manifest.flixwrap}`],
    ["image", manifest?.image],
    ["platform", manifest?.platform],
    ["packages", manifest?.packages && `${manifest.packages.length}: ${manifest.packages.join(" ")}`],
    ["again by", manifest?.command?.map(quoteWord).join(" ")],
    ...versions.map((version) => ["needs", version] as const),
  ];
  return rows
    .flatMap(([key, value]) =>
      value === undefined || value === "" ? [] : [`${printable(key).padEnd(10)} ${printable(value)}\n`],
    )
    .join("");
}

const quoteWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
