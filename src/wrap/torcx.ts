import { FlixwrapError } from "../core/errors.ts";
import { type ExtPath, extPath, type RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/index.ts";
import type { Action, Plan } from "../extension/plan.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import { type PlacedFile, planContents } from "./torcx/contents.ts";
import { enabledBy, isUnitFile, planUpholds } from "./torcx/enabling.ts";
import { readTorcxManifest, wordList } from "./torcx/manifest.ts";
import { planPrograms } from "./torcx/programs.ts";
import { imagesOf, rewriteUnit } from "./torcx/units.ts";

/** How {@link planTorcx} makes an extension. */
export interface TorcxOptions {
  /** The extension's name. */
  readonly name: string;
  /** Folder for the private libraries of dynamic programs; they go to `PREFIX/NAME`. */
  readonly prefix?: ExtPath;
  /** The Torcx image's own name, `docker` of `docker:20.10.torcx.tgz`: the folder torcx unpacked it to. */
  readonly image?: string;
}

/** What is planned for a Torcx image, with what the migration note and the finish ask for. */
export interface TorcxPlan extends Plan {
  /** ELF files of the image; they tell the architecture. */
  readonly elfs: readonly ElfFile[];
  /** Units that the image's own links start, in order. */
  readonly enabled: readonly string[];
  /** Flatcar's own extensions that hold the same programs: `docker-flatcar`, `containerd-flatcar`. */
  readonly replaces: readonly string[];
}

/** A unit of more bytes is none. */
const unitLimit = 256 << 10;

/**
 * Plans the extension that does what a Torcx image did: programs in `/usr/bin`, units without Torcx, links of
 * `TARGET.wants/` as `Upholds=` drop-ins, dynamic programs with private libraries. The extension must be released
 * with reload. Pure: reads the root only.
 * @throws FlixwrapError `wrap-torcx-manifest`, `wrap-torcx-clash`, `wrap-torcx-empty`.
 */
export function planTorcx(rootfs: Rootfs, options: TorcxOptions): TorcxPlan {
  const manifest = readTorcxManifest(rootfs);
  const contents = planContents(rootfs, manifest);
  const programs = planPrograms(rootfs, contents.files, {
    name: options.name,
    prefix: options.prefix ?? extPath("/usr/lib/flixwrap"),
  });
  const files = contents.files.filter(({ to }) => !programs.settled.has(to) && enabledBy(to) === undefined);
  const units = planUnits(rootfs, files, options);
  const enabled = [...contents.files, ...contents.links].flatMap(({ to }) => enabledBy(to) ?? []);
  const upheld = enabled.filter(({ unit }) => unit !== "torcx.target");

  const actions: Action[] = [
    ...contents.folders.map(({ node, to, why }): Action => ({ kind: "directory", to, mode: node.mode, why })),
    ...contents.links
      .filter(({ to, node }) => enabledBy(to) === undefined && !isLost(rootfs, node, programs.lost))
      .map(({ to, target, why }): Action => ({ kind: "symlink", to, target, why })),
    ...files.filter(({ to }) => !isUnitFile(to)).map(copy),
    ...units.actions,
    ...programs.actions,
    ...new Map(upheld.map(planUpholds).map((action) => [action.to, action])).values(),
  ];
  return {
    source: rootfs,
    actions,
    warnings: [
      ...(manifest !== undefined && manifest.unknown.length > 0
        ? [`lists of the manifest that nothing is done about: ${wordList(manifest.unknown)}`]
        : []),
      ...contents.warnings,
      ...units.warnings,
      ...programs.warnings,
    ],
    enabled: [...new Set(upheld.map(({ unit }) => unit))],
    replaces: replacedBy(actions),
    elfs: programs.elfs,
  };
}

const copy = ({ node, to, why }: PlacedFile): Action => ({ kind: "copy", from: node, to, why });

/** Whether a link leads to a library that is not shipped. */
function isLost(rootfs: Rootfs, link: RootNode | undefined, lost: ReadonlySet<RootPath>): boolean {
  if (link === undefined || lost.size === 0) return false;
  try {
    const goal = rootfs.resolve(link.path);
    return goal !== undefined && lost.has(goal.path);
  } catch (error) {
    // A link that leads in a circle leads nowhere, as it did.
    if (error instanceof FlixwrapError) return false;
    throw error;
  }
}

/** Units and drop-ins, rewritten; every other text that speaks of Torcx is told. */
function planUnits(
  rootfs: Rootfs,
  files: readonly PlacedFile[],
  options: TorcxOptions,
): { readonly actions: readonly Action[]; readonly warnings: readonly string[] } {
  const others = files.filter(({ node, to }) => !isUnitFile(to) && node.size <= unitLimit);
  const speaking = others.filter(({ node }) => /TORCX_|\/run\/(metadata\/)?torcx/.test(readText(rootfs, node)));
  const warnings = speaking.map(({ node }) => `${node.path} speaks of Torcx and is shipped as it is: look at it`);
  const needsVariables = speaking.some(({ node }) => /TORCX_(BINDIR|UNPACKDIR|IMAGEDIR)/.test(readText(rootfs, node)));

  const units = files.filter(({ to }) => isUnitFile(to));
  const texts = units.map((unit) => (unit.node.size <= unitLimit ? readText(rootfs, unit.node) : undefined));
  const images = new Set([
    ...(options.image === undefined ? [] : [options.image]),
    ...texts.flatMap((text) => (text === undefined ? [] : imagesOf(text))),
  ]);
  const actions = units.map((unit, at): Action => {
    const text = texts[at];
    if (text === undefined) {
      warnings.push(`${unit.node.path} is copied as it is: ${unit.node.size} bytes are no unit`);
      return copy(unit);
    }
    const rewritten = rewriteUnit(text, { images, needsVariables });
    for (const line of rewritten.leftovers) warnings.push(`${unit.node.path} still speaks of Torcx: ${line}`);
    if (rewritten.text === text) return copy(unit);
    // Bytes that are no UTF-8 come through latin1 as they are.
    const content = Buffer.from(rewritten.text, "latin1");
    return { kind: "write", to: unit.to, content, mode: 0o644, why: `${unit.why}; without Torcx` };
  });
  return { actions, warnings };
}

const readText = (rootfs: Rootfs, node: RootNode): string =>
  Buffer.from(rootfs.open(node).read(0, node.size)).toString("latin1");

/** Flatcar ships these two since it dropped Torcx; of two extensions with one file the later name wins. */
function replacedBy(actions: readonly Action[]): string[] {
  const paths = new Set<string>(actions.map(({ to }) => to));
  const holds = (...programs: string[]): boolean => programs.some((program) => paths.has(`/usr/bin/${program}`));
  return [
    ...(holds("docker", "dockerd") ? ["docker-flatcar"] : []),
    ...(holds("containerd") ? ["containerd-flatcar"] : []),
  ];
}
