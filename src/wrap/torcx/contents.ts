import { isSameContent } from "../../core/bytes.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type ExtPath, isWithin, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { wordLeftOut } from "../entry.ts";
import { relativeLink } from "../links.ts";
import { findAsset, type TorcxManifest, wordList } from "./manifest.ts";
import { assetFolders, placeOf, programFolder } from "./places.ts";

/** What of a Torcx image is shipped, and where. */
export interface TorcxContents {
  readonly files: readonly PlacedFile[];
  readonly links: readonly PlacedLink[];
  /** Empty folders; all others exist for what is in them. */
  readonly folders: readonly PlacedFile[];
  readonly warnings: readonly string[];
}

/** A file or folder of the image, and where it is shipped. */
export interface PlacedFile {
  readonly node: RootNode;
  readonly to: ExtPath;
  readonly why: string;
}

/** A symbolic link of the extension. */
export interface PlacedLink {
  readonly to: ExtPath;
  readonly target: string;
  readonly why: string;
  /** The link of the image, unless it is made here. */
  readonly node?: RootNode;
}

/** A node of the image with its place, before clashes are known. */
interface Candidate extends PlacedFile {
  readonly isListed: boolean;
}

/**
 * Lays out the image. Its manifest decides what of a kind the host is given (units, network, …); programs and all
 * other files are shipped in any case, since units reach them through torcx's unpack folder.
 * @throws FlixwrapError `wrap-torcx-clash`, `wrap-torcx-empty`.
 */
export function planContents(rootfs: Rootfs, manifest: TorcxManifest | undefined): TorcxContents {
  const warnings: string[] = [];
  const candidates = findCandidates(rootfs, manifest, warnings);
  const placed = settle(rootfs, candidates, warnings);
  const goals = new Map<string, ExtPath>(placed.map(({ node, to }) => [node.path, to]));
  const listedPrograms = manifest === undefined ? [] : linkPrograms(rootfs, manifest, goals);
  if (placed.length === 0)
    throw new FlixwrapError("wrap-torcx-empty", {
      what: "nothing of a Torcx image here",
      where: rootfs.description,
      wanted: ".torcx/manifest.json, or one of the folders bin, sbin, lib, usr, opt with files",
    });
  const links = placed.flatMap((one) => {
    if (one.node.type !== "symlink") return [];
    const target = linkTarget(one, goals);
    return target === undefined ? [] : [{ to: one.to, target, why: one.why, node: one.node }];
  });
  return {
    files: placed.filter(({ node }) => node.type === "file"),
    folders: placed.filter(({ node }) => node.type === "directory"),
    links: [...links, ...listedPrograms],
    warnings,
  };
}

/** Everything of the image that the host can be given; what is left out is told in `warnings`. */
function findCandidates(rootfs: Rootfs, manifest: TorcxManifest | undefined, warnings: string[]): Candidate[] {
  const listed = manifest === undefined ? new Map<RootPath, ExtPath>() : placeListed(rootfs, manifest);
  const programs = new Set((manifest?.bin ?? []).map((path) => rootfs.lookup(path)?.path));
  const outside = new Map<string, number>();
  const unlisted: string[] = [];
  const candidates: Candidate[] = [];
  for (const node of rootfs.walk(rootPath("/"))) {
    if (node.path === "/" || isWithin(node.path, "/.torcx")) continue;
    const wanted = listed.get(node.path);
    const to = wanted ?? placeOf(node.path);
    // `/bin -> usr/bin` of a merged root, `/usr/bin/x -> /bin/x`: the place is filled by what they lead to.
    if (to !== undefined && node.type === "symlink" && placeOf(linkGoal(node)) === to) continue;
    if (node.type === "directory") {
      // It exists for what is in it, and has the host's own mode; an empty one may be asked for.
      if (to === undefined || rootfs.list(node.path).length > 0 || isPlainFolder(to) || isAsset(to)) continue;
    } else if (to === undefined) {
      const top = node.path.split("/")[1]!;
      outside.set(top, (outside.get(top) ?? 0) + 1);
      continue;
    } else if (/^\/usr\/[^/]+$/.test(to)) {
      warnings.push(`${node.path} is left out: it is no folder and would hide the host's ${to}`);
      continue;
    } else if (node.type !== "file" && node.type !== "symlink") {
      warnings.push(wordLeftOut(node));
      continue;
    } else if (manifest !== undefined && wanted === undefined && isAsset(to)) {
      unlisted.push(node.path);
      continue;
    }
    const why = wanted === undefined ? `the image's ${node.path}` : `listed in the manifest: ${node.path}`;
    candidates.push({ node, to, why, isListed: wanted !== undefined || programs.has(node.path) });
  }
  if (unlisted.length > 0)
    warnings.push(`left out, as the manifest does not give them to the host: ${wordList(unlisted)}`);
  for (const [top, count] of outside)
    warnings.push(
      `${count} ${count === 1 ? "file" : "files"} of /${top} left out: an extension holds /usr and /opt alone` +
        (top === "etc" ? "; --etc PATH ships configuration" : ""),
    );
  return candidates;
}

/** Where the manifest's lists put their files, by the real path of each. */
function placeListed(rootfs: Rootfs, manifest: TorcxManifest): ReadonlyMap<RootPath, ExtPath> {
  const places = new Map<RootPath, ExtPath>();
  for (const [kind, folder] of Object.entries(assetFolders) as [keyof typeof assetFolders, ExtPath][])
    for (const path of manifest[kind]) {
      const node = findAsset(rootfs, path)!;
      if (node.type !== "directory") {
        // A link that is listed is given under its own name, too.
        const named = rootfs.lookup(path)!;
        for (const one of new Set([named, node])) places.set(one.path, join(folder, baseName(one.path)));
        continue;
      }
      // `multi-user.target.wants` keeps its name; a folder of units gives its content.
      const base = /\.(wants|requires|upholds|d)$/.test(baseName(path)) ? join(folder, baseName(path)) : folder;
      for (const below of rootfs.walk(node.path))
        if (below.path !== node.path) places.set(below.path, join(base, below.path.slice(node.path.length)));
    }
  // A program in a folder of programs is at its place; one that an extension cannot hold where it is moves there.
  for (const path of manifest.bin) {
    const { path: real } = findAsset(rootfs, path)!;
    if (placeOf(real) === undefined) places.set(real, join(programFolder, baseName(path)));
  }
  return places;
}

/** Programs the manifest lists that stand in other folders: torcx makes a link to each in its folder of programs. */
function linkPrograms(rootfs: Rootfs, manifest: TorcxManifest, goals: ReadonlyMap<string, ExtPath>): PlacedLink[] {
  const taken = new Set(goals.values());
  return manifest.bin.flatMap((path) => {
    const to = join(programFolder, baseName(path));
    const goal = goals.get(findAsset(rootfs, path)!.path);
    if (taken.has(to) || goal === undefined || goal === to) return [];
    return [{ to, target: relativeLink(to, goal), why: `listed in the manifest: ${path}` }];
  });
}

const isAsset = (to: ExtPath): boolean => Object.values(assetFolders).some((folder) => isWithin(to, folder));

/** `/usr/bin`, `/usr/lib/systemd`: empty ones say nothing, and an empty /usr/sbin would hide the host's link. */
const isPlainFolder = (to: ExtPath): boolean => to.split("/").length <= 4;

/** One candidate per place. Two of the same content are one; of two others the one that the manifest lists is meant. */
function settle(rootfs: Rootfs, candidates: readonly Candidate[], warnings: string[]): readonly Candidate[] {
  const places = new Map<ExtPath, Candidate>();
  const clashes: string[] = [];
  for (const one of candidates) {
    const other = places.get(one.to);
    if (other === undefined) places.set(one.to, one);
    else if (isSame(rootfs, one.node, other.node)) continue;
    else if (one.isListed === other.isListed)
      clashes.push(`${other.node.path} and ${one.node.path} (both become ${one.to})`);
    else {
      const [listed, left] = one.isListed ? [one, other] : [other, one];
      places.set(one.to, listed);
      warnings.push(`${left.node.path} is left out: the manifest lists ${listed.node.path} for ${one.to}`);
    }
  }
  if (clashes.length > 0)
    throw new FlixwrapError("wrap-torcx-clash", {
      what: "two files of the image want the same place",
      where: rootfs.description,
      got: wordList(clashes),
      hint: "remove one of each from the image, or list the right one in its manifest",
    });
  return [...places.values()];
}

function isSame(rootfs: Rootfs, a: RootNode, b: RootNode): boolean {
  if (a.identity === b.identity) return true;
  if (a.type !== b.type || a.size !== b.size || a.mode !== b.mode || a.target !== b.target) return false;
  return a.type !== "file" || isSameContent(rootfs.open(a), rootfs.open(b));
}

/** The path that a link names, as text: links on the way are not followed. */
function linkGoal({ path, target = "" }: RootNode): RootPath {
  return rootPath(target.startsWith("/") ? target : `${parentOf(path)}/${target}`);
}

/** The link's text at its new place; undefined when it would lead to itself. */
function linkTarget({ node, to }: PlacedFile, goals: ReadonlyMap<string, ExtPath>): string | undefined {
  const goal = linkGoal(node);
  const place = goals.get(goal) ?? placeOf(goal);
  if (place === to) return undefined;
  const isAbsolute = (node.target ?? "").startsWith("/");
  // An absolute link out of the image means the host: /dev/null masks a unit. A relative one keeps its goal.
  if (place === undefined) return isAbsolute ? node.target : goal;
  return isAbsolute && !goals.has(goal) ? node.target : relativeLink(to, place);
}
