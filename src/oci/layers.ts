import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";
import { findPath } from "./find-path.ts";
import { sliceSource } from "./file-source.ts";
import { openTally, type ImageLimits, type Tally } from "./limits.ts";
import { sparseSource } from "./tar/sparse.ts";
import { MAX_NAME, MAX_PATH, type StoredContent, type TarEntry, readTar } from "./tar/tar.ts";
import { childOf, emptyFolder, type FileInode, type FolderInode, type Inode, type InodeAttributes } from "./tree.ts";

/**
 * Applies layers to a tree in memory (image-spec, layer.md). Whiteouts are applied before the entries of their
 * layer, so that they reach lower layers only, wherever they stand; what they remove stays available as the
 * goal of the layer's hard links.
 */

/** Deep enough for any real tree; folders can be nested much deeper through links. */
const MAX_DEPTH = 1024;

/** Layers put on top of each other, lowest first, into one tree. */
export interface LayerStack {
  readonly root: FolderInode;
  /** @throws FlixwrapError `oci-bad-tar`, `oci-unsafe-layer`, `oci-too-large`, `oci-link-loop`. */
  apply(entries: Iterable<TarEntry>, archive: ByteSource, where: string): void;
  /** The same for a tar of files that is no layer: names beginning with `.wh.` are just names. */
  applyFiles(entries: Iterable<TarEntry>, archive: ByteSource, where: string): void;
}

/**
 * The files of a tar that is no layer: names beginning with `.wh.` are just names. Layers may follow.
 * @throws FlixwrapError `oci-bad-tar`, `oci-unsafe-layer`, `oci-too-large`, `oci-link-loop`.
 */
export function stackFiles(tar: ByteSource, where: string): LayerStack {
  const stack = stackLayers();
  stack.applyFiles(readTar(tar, where), tar, where);
  return stack;
}

/** An empty root to which layers are applied, lowest first. */
export function stackLayers(limits?: ImageLimits): LayerStack {
  const root = emptyFolder();
  // Folders that no entry names count as well, and so do entries that make nothing.
  const [nodes, tally] = [openTally(limits), openTally(limits)];
  const begin = (archive: ByteSource, where: string, markers: boolean): Application =>
    new Application(root, archive, where, markers, nodes);
  const counted = (layer: Iterable<TarEntry>, where: string): Iterable<TarEntry> => tallied(layer, tally, where);
  return {
    root,
    apply(layer, archive, where) {
      const application = begin(archive, where, true);
      const content = [...counted(layer, where)].filter((entry) => !application.applyWhiteout(entry));
      for (const entry of content) application.applyEntry(entry);
    },
    applyFiles(files, archive, where) {
      const application = begin(archive, where, false);
      for (const entry of counted(files, where)) application.applyEntry(entry);
    },
  };
}

/** The same entries, each counted before it is passed on. @throws FlixwrapError `oci-too-large`. */
export function* tallied(entries: Iterable<TarEntry>, tally: Tally, where: string): Generator<TarEntry> {
  for (const entry of entries) {
    const { name, target = "", xattrs, content } = entry;
    tally.entry(where);
    tally.content(content?.size ?? 0, where);
    tally.meta(name.length + target.length + (content?.parts?.length ?? 0) * PART, where);
    for (const [key, value] of xattrs) tally.meta(key.length + value.length, where);
    yield entry;
  }
}

/** Bytes that a part of a sparse file's map takes in memory. */
const PART = 64;

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** AUFS' own files. Hard links may lead to those in its `plnk` folder. */
const AUFS = ".wh..wh.";

/** One layer on its way into the tree, and what must be remembered meanwhile. */
class Application {
  readonly #root: FolderInode;
  readonly #archive: ByteSource;
  readonly #where: string;
  /** Whether names beginning with `.wh.` are markers. */
  readonly #markers: boolean;
  readonly #tally: Tally;
  /** What whiteouts of this layer took away, by folder and name. */
  readonly #removed = new Map<Inode, Map<string, Inode>>();
  readonly #aufs = new Map<string, Inode>();

  /** Where the last entry was put, by its parent as written: most have the same. */
  #last: { readonly parent: string; readonly folder: FolderInode } | undefined;

  /** `tally` counts every node that is made, and the way there. */
  constructor(root: FolderInode, archive: ByteSource, where: string, markers: boolean, tally: Tally) {
    this.#root = root;
    this.#archive = archive;
    this.#where = where;
    this.#markers = markers;
    this.#tally = tally;
  }

  readonly #spend = (parts: number): void => this.#tally.steps(parts, this.#where);

  /** Whether the entry was a whiteout; then it is done. */
  applyWhiteout(entry: TarEntry): boolean {
    if (!entry.name.includes(WHITEOUT)) return false;
    const names = this.#split(entry, entry.name);
    const name = names.at(-1);
    if (name === undefined || !name.startsWith(WHITEOUT)) return false;
    if (name.startsWith(AUFS) && name !== OPAQUE) return false;
    if (names.slice(0, -1).some((part) => part.startsWith(AUFS))) return false;
    this.#refuseMarkers(entry, names.slice(0, -1));
    const folder = this.#find(names.slice(0, -1));
    if (name === OPAQUE) {
      for (const child of folder?.children.keys() ?? []) this.#remove(folder!, child);
      return true;
    }
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw this.#unsafe(entry, "a whiteout without a name");
    if (folder !== undefined) this.#remove(folder, hidden);
    return true;
  }

  applyEntry(entry: TarEntry): void {
    const end = entry.name.length - (entry.name.endsWith("/") ? 1 : 0);
    const slash = end === 0 ? 0 : entry.name.lastIndexOf("/", end - 1) + 1;
    const parent = entry.name.slice(0, slash);
    const last = entry.name.slice(slash, end);
    const isPlain = isPlainName(last);
    if (isPlain && this.#last?.parent === parent) {
      this.#tally.entry(this.#where);
      this.#put(entry, this.#last.folder, last);
      return;
    }
    const names = this.#split(entry, entry.name);
    if (this.#markers && names.some((part) => part.startsWith(AUFS))) {
      if (entry.type === "file") this.#aufs.set(names.join("/"), this.#inode(entry));
      return;
    }
    this.#refuseMarkers(entry, names);
    const name = names.pop();
    if (name === undefined) {
      if (entry.type !== "directory") throw this.#unsafe(entry, "something else than a folder as the root");
      Object.assign(this.#root, attributesOf(entry));
      return;
    }
    this.#tally.entry(this.#where);
    const folder = this.#makeFolder(entry, names);
    this.#last = isPlain ? { parent, folder } : undefined;
    this.#put(entry, folder, name);
  }

  #put(entry: TarEntry, folder: FolderInode, name: string): void {
    const present = folder.children.get(name);
    if (entry.type === "directory" && present?.type === "directory") {
      Object.assign(present, attributesOf(entry));
      return;
    }
    // A replaced folder or link may have been a part of the last entry's path.
    if (present !== undefined) this.#last = undefined;
    folder.children.set(name, this.#inode(entry));
  }

  #inode(entry: TarEntry): Inode {
    const { type, mode, uid, gid, mtime, xattrs } = entry;
    switch (type) {
      case "file": {
        const open = openContent(this.#archive, entry.content!);
        return { type, mode, uid, gid, mtime, xattrs, size: entry.content!.size, open };
      }
      case "directory":
        return { type, mode, uid, gid, mtime, xattrs, children: new Map() };
      case "symlink":
        if (entry.target === "") throw this.#unsafe(entry, "a link to nothing");
        return { type, mode, uid, gid, mtime, xattrs, target: entry.target! };
      case "hardlink":
        return this.#linkTarget(entry);
      case "character-device":
      case "block-device":
      case "fifo":
        break;
    }
    return { type, ...attributesOf(entry), ...(entry.device && { device: entry.device }) };
  }

  /** What a hard link leads to: of this layer or a lower one, itself possibly a symlink, never a folder. */
  #linkTarget(entry: TarEntry): Inode {
    const names = this.#split(entry, entry.target!);
    const removedOrPresent = (folder: Inode, name: string): Inode | undefined =>
      childOf(folder, name) ?? this.#removed.get(folder)?.get(name);
    const found =
      this.#aufs.get(names.join("/")) ??
      findPath<Inode>(this.#root, names.join("/"), removedOrPresent, {
        followLast: false,
        spend: this.#spend,
      })?.nodes.at(-1);
    if (found === undefined) throw this.#unsafe(entry, "a hard link to a missing file", entry.target);
    if (found.type === "directory") throw this.#unsafe(entry, "a hard link to a folder", entry.target);
    return found;
  }

  /** The folder at a path, links followed inside the root, missing ones made. */
  #makeFolder(entry: TarEntry, names: readonly string[]): FolderInode {
    const parent = asFolder(names);
    const create = (above: Inode, name: string): Inode => {
      // A link's target may hold such a name, too.
      this.#refuseMarkers(entry, [name]);
      this.#tally.entry(this.#where);
      const made = emptyFolder();
      if (above.type === "directory") above.children.set(name, made);
      return made;
    };
    const trail = findPath<Inode>(this.#root, parent, childOf, {
      followLast: true,
      create,
      spend: this.#spend,
    });
    const folder = trail?.nodes.at(-1);
    if (folder?.type !== "directory") throw this.#unsafe(entry, "a file or broken link where a folder is needed");
    if (trail!.names.length >= MAX_DEPTH) throw this.#unsafe(entry, "folders nested too deep");
    return folder;
  }

  #find(names: readonly string[]): FolderInode | undefined {
    const folder = findPath<Inode>(this.#root, asFolder(names), childOf, {
      followLast: true,
      spend: this.#spend,
    })?.nodes.at(-1);
    return folder?.type === "directory" ? folder : undefined;
  }

  #remove(folder: FolderInode, name: string): void {
    const inode = folder.children.get(name);
    if (inode === undefined) return;
    folder.children.delete(name);
    const removed = this.#removed.get(folder) ?? new Map<string, Inode>();
    this.#removed.set(folder, removed.set(name, inode));
  }

  /** Parts of a path of the layer; `..` has no lawful use there. */
  #split(entry: TarEntry, path: string): string[] {
    if (path === "") throw this.#unsafe(entry, "an entry without a name");
    const names = path.split("/").filter((part) => part !== "" && part !== ".");
    for (const name of names) {
      if (name === "..") throw this.#unsafe(entry, "a path that leads out of the root");
      if (name.length > MAX_NAME / 3 && Buffer.byteLength(name) > MAX_NAME) {
        throw this.#unsafe(entry, `a name longer than ${MAX_NAME} bytes`);
      }
    }
    return names;
  }

  #refuseMarkers(entry: TarEntry, names: readonly string[]): void {
    if (this.#markers && names.some((part) => part.startsWith(WHITEOUT)))
      throw this.#unsafe(entry, "a whiteout used as a folder");
  }

  #unsafe(entry: TarEntry, what: string, got?: string): FlixwrapError {
    return new FlixwrapError("oci-unsafe-layer", {
      what: `unsafe layer, ${what}`,
      where: `${this.#where} at byte ${entry.offset}, ${entry.name.slice(0, MAX_PATH)}`,
      ...(got !== undefined && { got }),
    });
  }
}

/** The slash at the end makes a link there be followed, and the empty path mean the root. */
const asFolder = (names: readonly string[]): string => `${names.join("/")}/`;

/** Most files are never opened. */
const openContent =
  (archive: ByteSource, { offset, size, parts }: StoredContent): FileInode["open"] =>
  () =>
    parts === undefined
      ? sliceSource(archive, offset, size)
      : sparseSource(sliceSource(archive, offset, archive.size - offset), size, parts);

/** Whether a name needs no closer look: no marker, not too long, neither empty nor a step. */
const isPlainName = (name: string): boolean =>
  name !== "" && name.length <= MAX_NAME / 3 && (!name.startsWith(".") || /^\.[^.w]/.test(name));

const attributesOf = ({ mode, uid, gid, mtime, xattrs }: TarEntry): InodeAttributes => ({
  mode,
  uid,
  gid,
  mtime,
  xattrs,
});
