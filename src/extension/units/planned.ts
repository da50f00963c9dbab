import { type ByteSource, memorySource } from "../../core/bytes.ts";
import { type ExtPath, baseName, extPath, parentOf, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import type { Action, Plan } from "../plan.ts";
import { commandsOf, moveCommands } from "./commands.ts";
import { dropInOf, unitAt, unitFileName, unitFolder } from "./names.ts";
import { type UnitFile, formatUnit, parseUnit, valuesOf } from "./unit-file.ts";

/** Where a root may have a unit, best first (systemd.unit(5)). */
const rootFolders = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const unitLimit = 1 << 20;

/** The units among a plan's actions, by file name. */
export function plannedUnits(plan: Plan): ReadonlyMap<string, UnitFile> {
  const units = new Map<string, UnitFile>();
  for (const action of plan.actions) {
    const name = unitAt(action.to);
    const source = name === undefined ? undefined : contentOf(plan.source, action);
    if (name !== undefined && source !== undefined) units.set(name, readUnit(source));
  }
  return units;
}

/** Copies of those units from the root that are to be enabled but are no entries of their own. */
export function planMissingUnits(plan: Plan, names: readonly string[]): Action[] {
  const planned = new Set<string>(plan.actions.map(({ to }) => to));
  return names.flatMap((name): Action[] => {
    const to = extPath(`${unitFolder}/${unitFileName(name)}`);
    const from = planned.has(to) ? undefined : findUnit(plan.source, unitFileName(name));
    return from === undefined ? [] : [{ kind: "copy", from, to, why: `enabled: ${name}` }];
  });
}

/** The file of a unit in a root, where systemd would find it first. */
export function findUnit(root: Rootfs, fileName: string): RootNode | undefined {
  for (const folder of rootFolders) {
    const node = root.resolve(rootPath(`${folder}/${fileName}`));
    if (node?.type === "file") return node;
  }
  return undefined;
}

/**
 * Units whose programs stand elsewhere in the extension (`/usr/sbin/nginx` at `/usr/bin/nginx`) with the paths of
 * their command lines changed; all other actions as they are.
 */
export function moveUnitPrograms(plan: Plan): readonly Action[] {
  const targets = new Set<string>(plan.actions.map(({ to }) => to));
  const byName = new Map<string, ExtPath>();
  for (const { to } of plan.actions) if (parentOf(to) === "/usr/bin") byName.set(baseName(to), to);
  const rooted = unitsWithRoot(plan);
  return plan.actions.map((action) => {
    const source = unitAt(action.to) === undefined ? undefined : contentOf(plan.source, action);
    if (source === undefined) return action;
    if (rooted.has(unitAt(action.to)!)) return action;
    const unit = readUnit(source);
    const moves = new Map<string, string>();
    for (const { program } of commandsOf(unit)) {
      const moved = byName.get(baseName(program));
      if (program.startsWith("/") && moved !== undefined && !targets.has(program)) moves.set(program, moved);
    }
    const edited = formatUnit(moveCommands(unit, moves));
    if (edited === formatUnit(unit)) return action;
    const told = [...moves].map(([from, to]) => `${from} is ${to}`).join(", ");
    return { kind: "write", to: action.to, content: Buffer.from(edited), mode: 0o644, why: `${action.why}; ${told}` };
  });
}

/** Names of units that a drop-in gives a root of their own: their programs stay where that root has them. */
function unitsWithRoot(plan: Plan): ReadonlySet<string> {
  const names = new Set<string>();
  for (const action of plan.actions) {
    const name = dropInOf(action.to);
    const source = name === undefined ? undefined : contentOf(plan.source, action);
    if (source !== undefined && valuesOf(readUnit(source), "Service", "RootDirectory").length > 0) names.add(name!);
  }
  return names;
}

const readUnit = (source: ByteSource): UnitFile =>
  parseUnit(Buffer.from(source.read(0, Math.min(source.size, unitLimit))).toString("utf8"));

function contentOf(root: Rootfs, action: Action): ByteSource | undefined {
  if (action.kind === "write") return memorySource(action.content);
  return action.kind === "copy" && action.from.type === "file" ? root.open(action.from) : undefined;
}
