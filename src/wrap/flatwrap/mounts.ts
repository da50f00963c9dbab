import { FlixwrapError } from "../../core/errors.ts";
import { baseName, isWithin, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { readCompiledIn } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Bind, FlatwrapOptions } from "./options.ts";

/**
 * One row of the mount table: a part of the view that does not simply come with the root. Everything without a row
 * is the root's own, read-only.
 */
export interface Mount {
  /** Where it stands in the view; none of its parents is a link there. */
  readonly inside: RootPath;
  /** The host's path; undefined: the root's own, kept beside it, to stand before what the host has there. */
  readonly host?: string;
  readonly type: "folder" | "file";
  readonly writable: boolean;
  /** The program does not start without it. Otherwise a host that has no such path goes without. */
  readonly required: boolean;
  /** What the root's own file would say, which it has not: kept beside the root all the same. */
  readonly text?: string;
}

/** What decides where each path of the view comes from. */
export interface MountTable {
  /** Parents first; no row repeats what the row above it brings along. */
  readonly mounts: readonly Mount[];
  /** Whether the program sees the root's own file at this real path. */
  isOwn(path: RootPath): boolean;
}

/** Host folders that a root without anything of its own there is given, too, if the host has them. */
const commonFolders = ["/opt", "/mnt", "/media", "/srv"];
/** The loaders' own files: the host's would speak of libraries that are not there (glibc, musl). */
const loaderFiles = /^(ld\.so\.cache|ld-musl-[a-z0-9_]+\.path)$/;

/**
 * The mount table for a root.
 * @throws FlixwrapError `wrap-no-such-part` when the root shall give a folder that it does not have.
 */
export function planMounts(rootfs: Rootfs, options: FlatwrapOptions): MountTable {
  const own = new Set(options.chroot?.filter((path) => rootfs.resolve(path) !== undefined));
  const folder = (path: string): Mount => ({ inside: rootPath(path), host: path, type: "folder", ...usual });
  const hostFolders = [
    ...options.host,
    ...(options.etc === "host" ? ["/etc"] : []),
    ...(options.var === "host" ? ["/var"] : []),
    ...(options.home === "host" ? ["/home", "/root"] : []),
    ...commonFolders.filter((path) => rootfs.list(rootPath(path)).length === 0),
  ].filter((path) => !own.has(rootPath(path)));
  for (const [path, map] of [
    ["/etc", options.etc],
    ["/var", options.var],
    ["/home", options.home],
  ] as const) {
    if (map === "chroot" && rootfs.resolve(rootPath(path))?.type !== "directory") throw noSuchPart(rootfs, path);
  }

  const rows = new Map<RootPath, Mount>();
  const add = (row: Mount): void => {
    const inside = realPlace(rootfs, row.inside);
    rows.set(inside, { ...row, inside });
  };
  for (const path of hostFolders) add(folder(path));
  if (options.etc === "chroot") {
    for (const path of options.hostFiles) {
      if (rootfs.resolve(rootPath(path))?.type === "directory") throw noFile(path);
      add({ ...folder(path), type: "file" });
    }
  } else {
    const names = rootfs.list(rootPath("/etc")).filter((name) => loaderFiles.test(name));
    for (const name of names) add(fileOf(rootPath(`/etc/${name}`)));
    for (const row of missingPathFiles(rootfs)) add(row);
  }
  const bound = new Map<RootPath, Bind>();
  for (const bind of options.binds) {
    const inside = realPlace(rootfs, bind.inside);
    const other = bound.get(inside);
    if (other !== undefined && (other.host !== bind.host || other.writable !== bind.writable)) throw twice(inside);
    bound.set(inside, bind);
    add(mountOf(bind, rootfs));
  }
  const isBelowHost = (path: RootPath): boolean =>
    [...rows.values()].some(({ inside, host }) => host !== undefined && isWithin(path, inside));
  for (const path of own) {
    const node = rootfs.resolve(path)!;
    const type = node.type === "directory" ? "folder" : "file";
    if (isBelowHost(path)) add({ inside: path, type, writable: false, required: false });
  }

  const mounts = [...rows.values()]
    .toSorted((a, b) => (`${a.inside}/` < `${b.inside}/` ? -1 : 1))
    .filter((row, index, sorted) => !isRepeated(row, nearest(sorted.slice(0, index), row.inside)));
  return { mounts, isOwn: (path) => nearest(mounts, path)?.host === undefined };
}

const usual = { writable: true, required: false } as const;
const fileOf = (inside: RootPath): Mount => ({ inside, type: "file", writable: false, required: false });

/**
 * musl's loader takes the folders of its path file in place of the compiled-in ones, and few roots have that file:
 * without one to stand before it, that of a host with a musl of its own (Debian's package) would be read.
 */
function missingPathFiles(rootfs: Rootfs): readonly Mount[] {
  return rootfs.list(rootPath("/lib")).flatMap((name): Mount[] => {
    const node = /^ld-musl-.*\.so\.1$/.test(name) ? rootfs.resolve(rootPath(`/lib/${name}`)) : undefined;
    const built = node?.type === "file" ? readCompiledIn(rootfs.open(node)) : undefined;
    if (built?.family !== "musl" || built.systemFolders.length === 0) return [];
    const inside = rootPath(`/etc/ld-musl-${built.arch}.path`);
    return rootfs.lookup(inside) === undefined
      ? [{ ...fileOf(inside), text: `${built.systemFolders.join("\n")}\n` }]
      : [];
  });
}

function mountOf(bind: Bind, rootfs: Rootfs): Mount {
  const isFile = bind.file || rootfs.resolve(bind.inside)?.type === "file";
  const { host, inside, writable } = bind;
  return { host, inside, type: isFile ? "file" : "folder", writable, required: true };
}

/** The row that a path belongs to: the last one that holds it, as parents come first. */
export function nearest<M extends Mount>(mounts: readonly M[], path: RootPath): M | undefined {
  return mounts.findLast(({ inside }) => isWithin(path, inside));
}

/** Whether the row above shows the same already, since mounts are recursive. */
function isRepeated(row: Mount, above: Mount | undefined): boolean {
  if (above?.host === undefined || row.host === undefined) return above !== undefined && above.host === row.host;
  const same = join(rootPath(above.host), row.inside.slice(above.inside.length)) === rootPath(row.host);
  return same && row.writable === above.writable && !row.required;
}

/** Links in the parents of a mount point would be followed on the host, so the place is named without them. */
function realPlace(rootfs: Rootfs, path: RootPath): RootPath {
  if (path === "/") return path;
  const parent = parentOf(path);
  const real = rootfs.resolve(parent)?.path ?? realPlace(rootfs, parent);
  return join(real, baseName(path));
}

function noSuchPart(rootfs: Rootfs, path: string): FlixwrapError {
  return new FlixwrapError("wrap-no-such-part", {
    what: `the image has no ${path} that the program could see`,
    where: rootfs.description,
    hint: "take it from the host",
  });
}

const noFile = (path: string): FlixwrapError =>
  new FlixwrapError("usage", {
    what: "--host-files takes files, and the image has a folder there",
    got: path,
    hint: `--bind ${path} shows the host's folder`,
  });

const twice = (inside: RootPath): FlixwrapError =>
  new FlixwrapError("usage", { what: "two --bind want the same place and differ", got: inside });

/** One call of mount(2), its paths relative to the extension's folder, its options as mount(8) spells them. */
export interface MountStep {
  readonly source?: string;
  readonly target: string;
  readonly options: readonly string[];
  /** A host without the path goes without. */
  readonly isOptional: boolean;
  /** Without it the view would be wrong, so the program is not started when it fails. */
  readonly isVital: boolean;
}

/**
 * The calls that make the view, in their order. A bind mount becomes read-only only as a second step (mount(2)), which
 * busybox leaves to its caller. That step sets all flags anew, and a user namespace may not drop nosuid and nodev, which
 * systemd-sysext gives its merges.
 */
export function planMountSteps(mounts: readonly Mount[]): readonly MountStep[] {
  const seal = ["remount", "bind", "ro", "nosuid", "nodev"];
  const must = { isOptional: false, isVital: true };
  const may = { isOptional: false, isVital: false };
  // `./root` and not `root`: util-linux takes that word for the root file system.
  const rows = mounts.flatMap(({ inside, host, type, writable, required }): MountStep[] => {
    const target = `./root${inside}`;
    const given = { isOptional: !required, isVital: required };
    const bound = {
      source: host ?? `./over${inside}`,
      target,
      options: [type === "folder" ? "rbind" : "bind"],
      ...given,
    };
    if (writable) return [bound];
    if (host === undefined) return [bound, { target, options: seal, ...given }];
    // A user namespace must not take noexec away: then the second of the two fails and the first one stays.
    return [
      bound,
      { target, options: [...seal, "noexec"], ...given },
      { target, options: seal, ...given, isVital: false },
    ];
  });
  return [
    { source: "./root", target: "./root", options: ["bind"], ...must },
    // Where mounts are shared, what follows would show up below the host's copy of this folder, too.
    { target: "./root", options: ["private"], ...may },
    { target: "./root", options: seal, ...must },
    ...rows,
    // Over / and not by chroot, in which no user namespace could be made (clone(2), EPERM).
    { source: "./root", target: "/.", options: ["rbind"], ...must },
  ];
}
