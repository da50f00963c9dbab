import type { Context } from "../core/context.ts";
import { printable } from "../core/errors.ts";
import { baseName, rootPath } from "../core/paths.ts";
import { hierarchies } from "../extension/tree.ts";
import { type Manifest, papersFolder, parseManifest } from "../extension/manifest.ts";
import { isLax } from "../extension/check/rules-release.ts";
import { parseRelease, releaseFolder, strictXattr } from "../extension/release.ts";
import { isUnitName, unitFolder } from "../extension/units/names.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { type OpenedExtension, openExtension } from "./open.ts";

/** What an extension is, where it came from, and what a host needs for it. */
export interface ExtensionInfo {
  readonly file: string;
  readonly format: string;
  /** Bytes of the image; 0 for a folder. */
  readonly size: number;
  /** The part of extension-release's name that systemd compares. */
  readonly name: string | undefined;
  readonly release: Readonly<Record<string, string>>;
  readonly manifest: Manifest | undefined;
  readonly files: number;
  /** Bytes of all files, uncompressed. */
  readonly content: number;
  /** Programs in folders of PATH. */
  readonly programs: readonly string[];
  readonly units: readonly string[];
  /** Units started by the extension itself, and by which target. */
  readonly enabled: readonly string[];
  readonly etc: readonly string[];
  /** What works from which version of systemd on, oldest first. */
  readonly needs: readonly Need[];
}

/** A feature in use. */
export interface Need {
  readonly systemd: number;
  readonly what: string;
}

const textLimit = 1 << 20;

/** Looks into an extension; reads its small files only. @throws FlixwrapError `pack-no-image`, `pack-damaged-image`. */
export async function describeExtension(file: string, context: Context): Promise<ExtensionInfo> {
  const opened = await openExtension(file, context);
  try {
    return describeOpened(opened);
  } finally {
    opened.close();
  }
}

function describeOpened(opened: OpenedExtension): ExtensionInfo {
  const { rootfs } = opened;
  const nodes = hierarchies.flatMap((top) => Array.from(rootfs.walk(rootPath(top))));
  const files = nodes.filter(({ type }) => type === "file");
  const prefix = `${releaseFolder}/extension-release.`;
  const releaseNode = files.find(({ path }) => path.startsWith(prefix));
  const name = releaseNode?.path.slice(prefix.length);
  const release = Object.fromEntries(releaseNode === undefined ? [] : parseRelease(textOf(rootfs, releaseNode)));
  const manifestNode = files.find(({ path }) => path === `${papersFolder(name ?? "")}/manifest.json`);
  return {
    file: opened.path,
    format: opened.format,
    size: opened.size,
    name,
    release,
    manifest: manifestNode === undefined ? undefined : parseManifest(textOf(rootfs, manifestNode)),
    files: files.length,
    content: files.reduce((sum, { size }) => sum + size, 0),
    programs: nodes
      .filter(
        ({ path, type, mode }) =>
          /^\/usr\/(local\/)?s?bin\/[^/]+$/.test(path) &&
          type !== "directory" &&
          (type === "symlink" || (mode & 0o111) !== 0),
      )
      .map(({ path }) => path),
    units: files
      .map(({ path }) => path)
      .filter((path) => path === `${unitFolder}/${baseName(path)}` && isUnitName(baseName(path))),
    enabled: findEnabled(nodes, rootfs),
    etc: findEtc(files, rootfs),
    needs: findNeeds(release, nodes, opened.format, isLax(releaseNode?.xattrs.get(strictXattr))),
  };
}

const textOf = (rootfs: Rootfs, node: RootNode): string =>
  Buffer.from(rootfs.open(node).read(0, textLimit)).toString("utf8");

function findEnabled(nodes: readonly RootNode[], rootfs: Rootfs): string[] {
  return nodes.flatMap((node) => {
    const inside = node.path.startsWith(`${unitFolder}/`) ? node.path.slice(unitFolder.length + 1) : "";
    const link = /^([^/]+)\.(?:upholds|wants|requires)\/([^/]+)$/.exec(inside);
    if (link !== null) return [`${link[2]} by ${link[1]}`];
    const dropIn = /^([^/]+)\.d\/[^/]+\.conf$/.exec(inside);
    if (dropIn === null || node.type !== "file") return [];
    return [...textOf(rootfs, node).matchAll(/^Upholds=(.+)$/gm)].map((match) => `${match[1]} by ${dropIn[1]}`);
  });
}

function findEtc(files: readonly RootNode[], rootfs: Rootfs): string[] {
  return files
    .filter(({ path }) => /^\/usr\/lib\/tmpfiles\.d\/[^/]+\.conf$/.test(path))
    .flatMap((node) => [...textOf(rootfs, node).matchAll(/^[CL]\S* +("[^"]*"|\S+)/gm)].map((match) => match[1]!))
    .filter((path) => path.replace(/^"/, "").startsWith("/etc/"));
}

/** NEWS of systemd; what was measured is in docs/pack.md. */
function findNeeds(
  release: Readonly<Record<string, string>>,
  nodes: readonly RootNode[],
  format: string,
  hasAnyFileName: boolean,
): Need[] {
  const has = (pattern: RegExp) => nodes.some(({ path }) => pattern.test(path));
  const needs: (Need | false)[] = [
    { systemd: 248, what: "system extensions" },
    has(/\.target\.d\/[^/]+\.conf$/) && { systemd: 249, what: "Upholds= starts its units" },
    release["SYSEXT_SCOPE"] !== undefined && { systemd: 250, what: "SYSEXT_SCOPE= (older ones merge it everywhere)" },
    hasAnyFileName && { systemd: 250, what: "merged under any file name (older ones want NAME.raw)" },
    format === "ddi" && { systemd: 250, what: "signed disk images" },
    release["ID"] === "_any" && { systemd: 252, what: "ID=_any (older ones refuse it)" },
    release["ARCHITECTURE"] !== undefined && { systemd: 252, what: "ARCHITECTURE= is compared" },
    has(/\.upholds\//) && { systemd: 254, what: "links in .upholds/ start its units (older ones ignore them)" },
    release["EXTENSION_RELOAD_MANAGER"] !== undefined && {
      systemd: 255,
      what: "units are seen after the merge by themselves (older ones need `systemctl daemon-reload`)",
    },
    (release["EXTENSION_RESTART_UNITS"] ?? release["EXTENSION_RELOAD_OR_RESTART_UNITS"]) !== undefined && {
      systemd: 262,
      what: "units are restarted after a merge and stopped after an unmerge (older ones leave them running)",
    },
  ];
  return needs.filter((need) => need !== false);
}

/** The information as lines for people, without control characters of the image's. */
export function wordDescription(info: ExtensionInfo): string {
  const { manifest } = info;
  const rows: readonly (readonly [string, string | readonly string[] | undefined])[] = [
    ["File", `${info.file} (${info.format}${info.size === 0 ? "" : `, ${info.size} bytes`})`],
    ["Name", info.name ?? "none: it has no extension-release"],
    ["Hosts", hostsOf(info.release)],
    ["Says", Object.entries(info.release).map(([key, value]) => `${key}=${value}`)],
    ["Content", `${info.files} files, ${info.content} bytes`],
    ["Programs", info.programs],
    ["Units", info.units.map(baseName)],
    ["Started", info.enabled],
    ["Copied to /etc", info.etc],
    ["Image", manifest?.image],
    ["Digest", manifest?.digest],
    ["Platform", manifest?.platform],
    ["Made by", manifest === undefined ? undefined : `flixwrap ${manifest.flixwrap}`],
    [
      "Packages",
      manifest?.packages?.map((url) => decodeUrl(url.replace(/^pkg:\w+\/[^/]+\//, "").replace(/\?.*/s, ""))),
    ],
    [
      "Made again by",
      manifest?.command
        ?.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
        .join(" "),
    ],
    ["systemd", info.needs.map(({ systemd, what }) => `${systemd}: ${what}`)],
  ];
  const width = Math.max(...rows.map(([title]) => title.length)) + 2;
  return rows
    .flatMap(([title, value]) => {
      const lines = value === undefined ? [] : typeof value === "string" ? [value] : value;
      return lines.map((line, at) => `${(at === 0 ? title : "").padEnd(width)}${printable(line)}\n`);
    })
    .join("");
}

/** A part of a URL as text; one that is not encoded as it should be stays as it is. */
function decodeUrl(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function hostsOf(release: Readonly<Record<string, string>>): string {
  const { ID: id, VERSION_ID: version, SYSEXT_LEVEL: level, ARCHITECTURE: architecture } = release;
  if (id === undefined) return "none: extension-release has no ID=";
  const system =
    id === "_any"
      ? "any"
      : [id, level === undefined ? version : `with SYSEXT_LEVEL=${level}`].filter(Boolean).join(" ");
  return architecture === undefined || architecture === "_any" ? system : `${system}, ${architecture}`;
}
