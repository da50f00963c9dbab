import { defined } from "../../core/defined.ts";
import { decodeName } from "../../core/names.ts";
import { baseName, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { isUnitName } from "../../extension/units/names.ts";
import { formatUnit, parseUnit } from "../../extension/units/unit-file.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { parseProfile, parseTorcxName, type TorcxImageName } from "./profile.ts";
import { rewriteUnit } from "./units.ts";

/** What of Torcx is on a host. */
export interface TorcxScan {
  /** The user's profile, `/etc/torcx/next-profile`; undefined: the vendor's alone. */
  readonly profile?: string;
  /** Images of the profiles in effect, with their archives in the stores; without: none is there. */
  readonly images: readonly (TorcxImageName & { readonly path?: RootPath; readonly profile: RootPath })[];
  /** Archives that no profile in effect names. */
  readonly unused: readonly RootPath[];
  readonly findings: readonly ScanFinding[];
  /** What could not be read; root may be allowed to. */
  readonly unread: readonly RootPath[];
}

/** One thing to do on the host. */
export interface ScanFinding {
  readonly path: RootPath;
  /** From 1; missing for links and whole files. */
  readonly line?: number;
  /** What stands there. */
  readonly text?: string;
  readonly todo: string;
}

/** Lowest first: the vendor's, the OEM's, the user's (torcx, "Profiles"). */
const profileFolders = [
  "/usr/share/torcx/profiles",
  "/usr/share/oem/torcx/profiles",
  "/oem/torcx/profiles",
  "/etc/torcx/profiles",
];
const storeFolders = [
  "/usr/share/torcx/store",
  "/usr/share/oem/torcx/store",
  "/oem/torcx/store",
  "/var/lib/torcx/store",
];
const generatorFolders = [
  "/usr/lib/systemd/system-generators",
  "/lib/systemd/system-generators",
  "/usr/local/lib/systemd/system-generators",
];
/** Larger files are no configuration. */
const sizeLimit = 1 << 20;
const depthLimit = 32;

/** Finds what a machine that used Torcx still has of it, below `root`; nothing is changed. */
export function scanHost(root: Rootfs): TorcxScan {
  const reader = new Reader(root);
  const selected = reader.text(rootPath("/etc/torcx/next-profile"))?.trim();
  const profile = selected === undefined || selected === "" ? undefined : selected;
  const findings: ScanFinding[] = [];

  const stored = storeFolders.flatMap((folder) => reader.below(rootPath(folder)).map(({ path }) => path));
  const archives = stored.filter((path) => parseTorcxName(baseName(path)) !== undefined);
  const images = new Map<string, TorcxScan["images"][number]>();
  for (const path of profilesInEffect(reader, profile, findings)) {
    const parsed = parseProfile(reader.text(path) ?? "");
    if (typeof parsed === "string") findings.push({ path, todo: `is no profile of Torcx: ${parsed}; remove it` });
    else
      for (const image of parsed) {
        // The user's store comes last, and wins.
        const archive = archives.findLast((one) => {
          const name = parseTorcxName(baseName(one));
          return name?.name === image.name && name.reference === image.reference;
        });
        images.set(image.name, { ...image, profile: path, ...defined({ path: archive }) });
      }
  }
  const used = new Set([...images.values()].map(({ path }) => path));
  const names = new Set(images.keys());
  for (const node of reader.below(rootPath("/etc"))) findings.push(...inspect(reader, node, names));
  return {
    ...defined({ profile }),
    images: [...images.values()],
    unused: archives.filter((path) => !used.has(path)),
    findings: [...findings, ...findGenerator(reader)],
    unread: reader.unread,
  };
}

/** The scan as lines for people: what was in use, then what to do. */
export function wordScan(scan: TorcxScan): string[] {
  const { images, findings, unused, unread } = scan;
  if (images.length === 0 && findings.length === 0 && unused.length === 0)
    return ["nothing of Torcx is here", ...unread.map((path) => `could not read ${path}`)];
  return [
    ...(scan.profile === undefined ? [] : [`profile ${scan.profile}`]),
    ...images.map(({ name, reference, path, profile }) =>
      path === undefined
        ? `image ${name}:${reference} of ${profile}: no archive of it is on this host`
        : `image ${name}:${reference} of ${profile}: flixwrap torcx ${path} ${name}`,
    ),
    ...findings.map(({ path, line, text, todo }) =>
      [`${path}${line === undefined ? "" : `:${line}`}`, text, todo].filter((part) => part !== undefined).join(": "),
    ),
    ...unused.map((path) => `${path}: no profile uses it: remove it`),
    ...unread.map((path) => `could not read ${path}`),
  ];
}

/** `vendor` and `oem` are always in effect, below the one that the user selected. */
function profilesInEffect(reader: Reader, selected: string | undefined, findings: ScanFinding[]): RootPath[] {
  const paths: RootPath[] = [];
  for (const folder of profileFolders.map(rootPath))
    for (const name of reader.names(folder)) {
      const path = join(folder, name);
      const profile = name.replace(/\.json$/, "");
      const isUsers = folder === "/etc/torcx/profiles";
      if (profile === name) continue;
      if (profile === selected || (!isUsers && /^(vendor|oem)$/.test(profile))) paths.push(path);
      if (isUsers) findings.push({ path, todo: "a profile of Torcx: remove it when its images are converted" });
    }
  if (selected !== undefined) {
    const path = rootPath("/etc/torcx/next-profile");
    findings.push({ path, text: selected, todo: "selects a profile of Torcx: remove it" });
  }
  return paths;
}

function inspect(reader: Reader, node: RootNode, images: ReadonlySet<string>): ScanFinding[] {
  const { path, type, target = "" } = node;
  if (type === "symlink") return inspectLink(path, target);
  if (type !== "file" || path.startsWith("/etc/torcx/")) return [];
  const text = reader.text(path, "latin1");
  if (text === undefined || !/torcx/i.test(text)) return [];
  const isUnit = isUnitName(baseName(path)) || (path.endsWith(".conf") && parentOf(path).endsWith(".d"));
  if (path.startsWith("/etc/systemd/") && isUnit) return inspectUnit(path, text, images);
  return text
    .split("\n")
    .flatMap((line, at) =>
      /^\s*[#;]/.test(line) || !/TORCX_|torcx\.target|\/run\/(metadata\/)?torcx/.test(line)
        ? []
        : [{ path, line: at + 1, text: line.trim(), todo: "programs are in /usr/bin, other files below /usr" }],
    );
}

/** Every setting that the converter itself would change, and what it makes of it. */
function inspectUnit(path: RootPath, text: string, images: ReadonlySet<string>): ScanFinding[] {
  const findings: ScanFinding[] = [];
  let line = 1;
  for (const item of parseUnit(text).items) {
    if (item.kind === "setting") {
      const header = `[${item.section}]\n`;
      const rewritten = rewriteUnit(header + item.raw, { images });
      const after = rewritten.text.slice(header.length).trim();
      if (rewritten.leftovers.length > 0)
        findings.push({ path, line, text: item.raw.trim(), todo: "speaks of Torcx: look at it" });
      else if (after !== formatUnit({ items: [item] }).trim())
        findings.push({
          path,
          line,
          text: item.raw.trim(),
          todo: after === "" ? "remove this line" : `write ${after}, or remove the file to use the extension's own`,
        });
    }
    line += item.raw.split("\n").length - 1;
  }
  return findings;
}

function inspectLink(path: RootPath, target: string): ScanFinding[] {
  if (/^\/etc\/extensions\/(docker|containerd)-flatcar\.raw$/.test(path) && target !== "/dev/null")
    return [{ path, text: target, todo: `holds the same programs: ln -sfn /dev/null ${path}` }];
  if (!path.startsWith("/etc/systemd/")) return [];
  if (baseName(path) === "torcx.target" || baseName(target) === "torcx.target")
    return [{ path, text: target, todo: "remove it: there is no torcx.target any more" }];
  if (!/^\/run\/(torcx|systemd\/system)\//.test(target)) return [];
  const todo = /\.(wants|requires)$/.test(parentOf(path))
    ? `remove it: the extension starts ${baseName(path)} itself, or convert with --enable ${baseName(path)}`
    : "remove it: the extension has the unit";
  return [{ path, text: target, todo }];
}

function findGenerator(reader: Reader): ScanFinding[] {
  const mask = rootPath("/etc/systemd/system-generators/torcx-generator");
  if (reader.node(mask)?.target === "/dev/null") return [];
  return [mask, ...generatorFolders.map((folder) => rootPath(`${folder}/torcx-generator`))]
    .filter((path, at, all) => {
      const node = reader.node(path);
      // /lib is /usr/lib on most hosts.
      return node !== undefined && all.slice(0, at).every((other) => reader.node(other)?.path !== node.path);
    })
    .slice(0, 1)
    .map((path) => ({ path, todo: `sets Torcx up at boot: mask it, ln -sfn /dev/null ${mask}` }));
}

/** Reads what may be read: on a host some files belong to others. */
class Reader {
  readonly #root: Rootfs;
  readonly unread: RootPath[] = [];

  constructor(root: Rootfs) {
    this.#root = root;
  }

  /** The node itself, its links not followed. */
  node(path: RootPath): RootNode | undefined {
    return this.#attempt(path, () => this.#root.lookup(path));
  }

  names(folder: RootPath): readonly string[] {
    return this.#attempt(folder, () => this.#root.list(folder)) ?? [];
  }

  /** Everything below a folder except folders. */
  below(folder: RootPath, depth = 0): RootNode[] {
    if (depth > depthLimit) return [];
    return this.names(folder).flatMap((name) => {
      const node = this.node(join(folder, name));
      if (node === undefined) return [];
      return node.type === "directory" ? this.below(node.path, depth + 1) : [node];
    });
  }

  text(path: RootPath, encoding: "utf8" | "latin1" = "utf8"): string | undefined {
    return this.#attempt(path, () => {
      const node = this.#root.resolve(path);
      if (node?.type !== "file" || node.size > sizeLimit) return undefined;
      const bytes = this.#root.open(node).read(0, node.size);
      return encoding === "utf8" ? decodeName(bytes) : Buffer.from(bytes).toString(encoding);
    });
  }

  #attempt<T>(path: RootPath, read: () => T): T | undefined {
    try {
      return read();
    } catch {
      // Whatever keeps it from being read (permissions, a link in a circle), the rest can be scanned.
      this.unread.push(path);
      return undefined;
    }
  }
}
