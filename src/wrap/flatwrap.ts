import { FlixwrapError } from "../core/errors.ts";
import { encodeName } from "../core/names.ts";
import { baseName, type ExtPath, join, type RootPath, rootPath } from "../core/paths.ts";
import type { Action, Plan } from "../extension/plan.ts";
import { isUnitName } from "../extension/units/names.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { type Entry, missingEntries, specialEntry, wordMoved } from "./entry.ts";
import { type Contents, type Home, planContents } from "./flatwrap/contents.ts";
import { type MountTable, planMounts } from "./flatwrap/mounts.ts";
import type { FlatwrapOptions } from "./flatwrap/options.ts";
import { planNeeded } from "./flatwrap/packages.ts";
import { renderDropIn, renderEnter, renderFstab } from "./flatwrap/render.ts";
import { assembleStarters, machineOf } from "./flatwrap/start.ts";
import { fillTemplate, quoteComment, quoteWord } from "./flatwrap/shell.ts";
import { useWrappers } from "./flatwrap/units.ts";
import { relativeLink } from "./links.ts";

/** What Flatwrap plans, and the programs it makes entries for (their ELF headers tell the architecture). */
export interface FlatwrapPlan extends Plan {
  readonly programs: readonly RootNode[];
}

/**
 * Plans an extension that brings the whole root along, in `PREFIX/NAME/root`; every program among the entries
 * becomes a small script that runs it in its own view of the file system.
 * @throws FlixwrapError `wrap-…` for entries and options that cannot be served.
 */
export function planFlatwrap(rootfs: Rootfs, entries: readonly Entry[], options: FlatwrapOptions): FlatwrapPlan {
  const found = findEntries(rootfs, entries);
  const at = join(options.prefix, options.name);
  const home: Home = { at, root: join(at, "root"), over: join(at, "over") };
  const table = planMounts(rootfs, options);
  const isNeeded = options.onlyNeeded
    ? planNeeded(
        rootfs,
        entries.map(({ source }) => source),
      )
    : undefined;
  const contents = planContents(rootfs, table, home, options, isNeeded);
  const scene: Scene = { rootfs, home, table, contents, options, found };
  return {
    source: rootfs,
    actions: [...contents.actions, ...planScripts(scene), ...found.flatMap((entry) => planEntry(entry, scene))],
    warnings: [...entries.flatMap(wordMoved), ...contents.warnings],
    programs: found.filter(({ role }) => role === "program").map(({ node }) => node),
  };
}

/** An entry with what it leads to in the root. */
export interface FoundEntry {
  readonly entry: Entry;
  readonly node: RootNode;
  readonly role: "program" | "unit" | "other";
}

interface Scene {
  readonly rootfs: Rootfs;
  readonly home: Home;
  readonly table: MountTable;
  readonly contents: Contents;
  readonly options: FlatwrapOptions;
  readonly found: readonly FoundEntry[];
}

function findEntries(rootfs: Rootfs, entries: readonly Entry[]): FoundEntry[] {
  const nodes = entries.map((entry) => ({ entry, node: rootfs.resolve(entry.source) }));
  const missing = nodes.filter(({ node }) => node === undefined).map(({ entry }) => entry.source);
  if (missing.length > 0) throw missingEntries(rootfs, missing);
  return nodes.map(({ entry, node }) => ({ entry, node: node!, role: roleOf(entry, node!) }));
}

function roleOf(entry: Entry, node: RootNode): FoundEntry["role"] {
  if (node.type === "directory") return "other";
  if (node.type !== "file") throw specialEntry(entry, node);
  if (isUnitName(baseName(entry.target))) return "unit";
  if ((node.mode & 0o111) !== 0) {
    if (ownTools.test(entry.target)) throw ownTool(entry);
    return "program";
  }
  if (!/\/s?bin\/[^/]+$/.test(entry.target)) return "other";
  throw new FlixwrapError("wrap-entry-not-executable", {
    what: "cannot make a program of a file that is not executable",
    where: entry.source,
    hint: `data can stand elsewhere, as in ${entry.source}:/usr/share/${baseName(entry.source)}`,
  });
}

/** What templates/flatwrap-enter.sh calls, and the shells that run it: in their place a script would call itself. */
const ownTools = /^\/usr\/bin\/(sh|dash|bash|busybox|unshare|nsenter|mount|bwrap|sleep)$/;

function ownTool({ source, target }: Entry): FlixwrapError {
  return new FlixwrapError("wrap-entry-own-tool", {
    what: "the scripts themselves need the host's own program there",
    where: target,
    hint: `place it elsewhere, as in ${source}:/opt/bin/${baseName(target)}`,
  });
}

/** The mount table and the shell code that all entries share. */
function planScripts({ rootfs, home, table, options, found }: Scene): Action[] {
  const enter = fillTemplate(options.templates.enter, renderEnter(table.mounts, quoteComment(options.name)));
  const programs = found.filter(({ role }) => role === "program").map(({ node }) => node);
  const starters = assembleStarters(table.mounts, machineOf(rootfs, programs));
  const fast = "makes the view in one process";
  return [
    write(join(home.at, "enter"), enter, 0o644, "shell code that the entries share"),
    write(join(home.at, "mounts"), renderFstab(table.mounts), 0o644, "the mount table"),
    ...(starters === undefined
      ? []
      : [
          write(join(home.at, "again"), options.templates.again, 0o644, "goes on where the kernel forbids namespaces"),
          writeBytes(join(home.at, "start-as-root"), starters.asRoot, 0o755, fast),
          writeBytes(join(home.at, "start-as-user"), starters.asUser, 0o755, fast),
        ]),
  ];
}

function planEntry(found: FoundEntry, scene: Scene): Action[] {
  const { entry, node, role } = found;
  const { home, contents, options, rootfs } = scene;
  const why = `entry ${entry.source}`;
  if (role === "unit") return planUnit(found, scene);
  if (role === "program") {
    const program = insidePath(found, scene);
    const text = fillTemplate(options.templates.entry, {
      source: quoteComment(entry.source),
      image: quoteComment(rootfs.description),
      program: quoteWord(program),
      home: quoteWord(home.at),
    });
    return [write(entry.target, text, 0o755, why)];
  }
  if (!contents.isShipped(node.path)) {
    // The program sees the host's file there; the one that was asked for is still brought along.
    return [...rootfs.walk(node.path)]
      .filter(({ type }) => ["file", "directory", "symlink"].includes(type))
      .map((from) => ({ kind: "copy", to: join(entry.target, from.path.slice(node.path.length)), from, why }));
  }
  return [{ kind: "symlink", to: entry.target, target: relativeLink(entry.target, join(home.root, node.path)), why }];
}

/** How the program is called inside: as it was named, so that a link's name reaches it as argv[0]. */
function insidePath({ entry, node }: FoundEntry, { contents, rootfs }: Scene): RootPath {
  if (!contents.isShipped(node.path)) {
    throw new FlixwrapError("wrap-entry-hidden", {
      what: "the program could not see this entry itself",
      where: entry.source,
      hint: "it is left out, or its folder comes from the host: see --exclude, --chroot, --only-needed, --etc, --var, --home, --host and --bind",
    });
  }
  const link = rootfs.lookup(entry.source);
  return link !== undefined && contents.isShipped(link.path) ? entry.source : node.path;
}

function planUnit(found: FoundEntry, scene: Scene): Action[] {
  const { entry, node } = found;
  const { home, table, options, rootfs } = scene;
  const why = `unit ${entry.source}`;
  const isService = entry.target.endsWith(".service");
  if (isService && options.unitMode === "wrapper") {
    const programs = new Map(
      scene.found
        .filter(({ role }) => role === "program")
        .map((program) => [program.node.path, program.entry.target] as const),
    );
    const wrapperOf = (path: string): ExtPath | undefined =>
      programs.get(rootfs.resolve(rootPath(path))?.path ?? rootPath(path));
    const text = Buffer.from(rootfs.open(node).read(0, node.size)).toString("latin1");
    const content = Buffer.from(useWrappers(text, wrapperOf), "latin1");
    return [{ kind: "write", to: entry.target, content, mode: 0o644, why }];
  }
  const unit: Action = { kind: "copy", to: entry.target, from: node, why };
  if (!isService) return [unit];
  const ownFolders = rootfs
    .list(rootPath("/"))
    .map((name) => rootPath(`/${name}`))
    .filter((path) => table.isOwn(path) && rootfs.lookup(path)?.type === "directory");
  const dropIn = renderDropIn(table.mounts, home, ownFolders);
  return [
    unit,
    write(
      `${entry.target}.d/10-flatwrap.conf` as ExtPath,
      dropIn,
      0o644,
      `shows the root to ${baseName(entry.target)}`,
    ),
  ];
}

function write(to: ExtPath, text: string, mode: number, why: string): Action {
  return writeBytes(to, encodeName(text), mode, why);
}

function writeBytes(to: ExtPath, content: Uint8Array, mode: number, why: string): Action {
  return { kind: "write", to, content, mode, why };
}
