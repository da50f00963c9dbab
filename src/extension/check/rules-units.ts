import { FlixwrapError } from "../../core/errors.ts";
import { type RootPath, baseName, rootPath } from "../../core/paths.ts";
import { commandsOf } from "../units/commands.ts";
import { dropInOf, unitFolder, unitKind } from "../units/names.ts";
import { valuesOf } from "../units/unit-file.ts";
import { type Finding, found } from "./finding.ts";
import { afterUsrMerge } from "./hosts.ts";
import type { Subject, UnitNode } from "./subject.ts";

/** Lines that systemd skips. */
export function* checkUnitSyntax({ units }: Subject): Iterable<Finding> {
  for (const { node, unit } of units())
    for (const item of unit.items)
      if (item.kind === "other" && item.problem !== undefined)
        yield found("unit-syntax", "warning", node.path, { problem: item.problem, line: item.raw.trim().slice(0, 80) });
}

/**
 * On every host that reads units: what systemd brings itself, a shell, and of coreutils and util-linux, which distributions
 * have systemd depend on, what units start before their program.
 */
const onEveryHost =
  /^\/usr\/(bin\/(systemd-[a-z-]+|systemctl|journalctl|sh|env|cat|chmod|chown|cp|false|install|kill|ln|mkdir|mount|mv|rm|rmdir|sleep|test|touch|true|umount)$|lib\/systemd\/)/;

/** Programs that units start are in the extension, at the place the unit names. */
export function* checkUnitPrograms(subject: Subject): Iterable<Finding> {
  const programs = new Map<string, RootPath>();
  for (const { path, type, mode } of subject.nodes)
    if (
      type !== "directory" &&
      (type === "symlink" || (mode & 0o111) !== 0) &&
      /\/s?bin\//.test(path) &&
      subject.privateRootOf(path) === undefined
    )
      programs.set(baseName(path), path);
  // A service with a root of its own starts its programs there (systemd.exec(5)).
  const roots = new Map<string, string>();
  for (const { node, name, unit } of subject.units()) {
    const root = valuesOf(unit, "Service", "RootDirectory").at(-1);
    if (root !== undefined && root !== "") roots.set(dropInOf(node.path) ?? name, root.replaceAll("%%", "%"));
  }
  for (const { node, unit, name } of subject.units())
    for (const { program, mayFail } of commandsOf(unit)) {
      if (program.includes("%") || !program.startsWith("/")) continue;
      const root = roots.get(name);
      if (root !== undefined) {
        const inside = [program, afterUsrMerge(program)].map((path) => rootPath(`${root}/${path}`));
        if (!mayFail && !inside.some((path) => exists(subject, path)))
          yield found("unit-program", "warning", node.path, { program: `${root}${program}` });
        continue;
      }
      const path = rootPath(afterUsrMerge(program));
      if (exists(subject, path) || onEveryHost.test(path)) continue;
      const elsewhere = programs.get(baseName(program));
      if (elsewhere !== undefined && elsewhere !== path)
        yield found("unit-program-moved", "error", node.path, { program, elsewhere });
      else if (!mayFail) {
        const severity = subject.host === undefined || exists({ rootfs: subject.host }, path) ? "warning" : "error";
        yield found("unit-program", severity, node.path, { program });
      }
    }
}

function exists({ rootfs }: Pick<Subject, "rootfs">, path: RootPath): boolean {
  try {
    return rootfs.resolve(path) !== undefined;
  } catch (error) {
    if (error instanceof FlixwrapError) return false;
    throw error;
  }
}

/** Without a reload the manager does not see units that a merge brings (obeyed from systemd 255 on). */
export function* checkUnitReload({ units, releases }: Subject): Iterable<Finding> {
  const release = releases()[0];
  if (units().length === 0 || release === undefined) return;
  const value = release.fields.get("EXTENSION_RELOAD_MANAGER") ?? "";
  const restarts =
    release.fields.get("EXTENSION_RESTART_UNITS") ?? release.fields.get("EXTENSION_RELOAD_OR_RESTART_UNITS");
  if (!/^(1|yes|y|true|t|on)$/i.test(value) && restarts === undefined)
    yield found("unit-reload", "warning", release.node.path);
}

/** Units with an `[Install]` section that nothing in the extension starts. */
export function* checkUnitEnabled({ units, nodes }: Subject): Iterable<Finding> {
  const started = new Set<string>();
  for (const { path, type } of nodes) {
    if (!path.startsWith(`${unitFolder}/`)) continue;
    const wants = /^[^/]+\.(wants|requires|upholds)\/([^/]+)$/.exec(path.slice(unitFolder.length + 1));
    if (wants === null || type !== "symlink") continue;
    started.add(wants[2]!);
    // A target that is active already starts nothing new: Wants= acts at the next boot.
    if (wants[1] !== "upholds") yield found("unit-wants", "note", path, { unit: wants[2]! });
  }
  const all = units();
  for (const { unit } of all)
    for (const key of ["Upholds", "Wants", "Requires", "BindsTo"])
      for (const value of valuesOf(unit, "Unit", key)) for (const name of value.split(/\s+/)) started.add(name);
  for (const { node, unit, name } of all) {
    const hasInstall = unit.items.some((item) => item.kind === "section" && item.name === "Install");
    if (
      hasInstall &&
      node.path === `${unitFolder}/${name}` &&
      !started.has(name) &&
      !isStartedByOther(name, all, started)
    )
      yield found("unit-not-enabled", "note", node.path, { unit: name });
  }
}

/** A service whose socket, timer or path unit is started. */
function isStartedByOther(name: string, units: readonly UnitNode[], started: ReadonlySet<string>): boolean {
  if (unitKind(name) !== "service") return /@\.[a-z]+$/.test(name);
  const base = name.replace(/@?\.service$/, "");
  return (
    units.some(
      (other) => started.has(other.name) && other.name !== name && other.name.replace(/\.[a-z]+$/, "") === base,
    ) || name.includes("@.")
  );
}

/** Users of services that nothing creates. */
export function* checkUnitUsers({ units, nodes, rootfs }: Subject): Iterable<Finding> {
  const made = new Set<string>(["root", "nobody", "nogroup"]);
  for (const node of nodes) {
    if (node.type !== "file" || !/^\/usr\/lib\/sysusers\.d\/[^/]+\.conf$/.test(node.path)) continue;
    const text = Buffer.from(rootfs.open(node).read(0, 1 << 20)).toString("utf8");
    for (const line of text.split("\n")) {
      const name = /^[ug]!?\s+"?([^\s"]+)/.exec(line.trim())?.[1];
      if (name !== undefined) made.add(name);
    }
  }
  for (const { node, unit } of units()) {
    if (/^(1|yes|true|on)$/i.test(valuesOf(unit, "Service", "DynamicUser").at(-1) ?? "")) continue;
    for (const key of ["User", "Group"]) {
      const name = valuesOf(unit, "Service", key).at(-1);
      if (name === undefined || /^\d+$/.test(name) || name.includes("%") || made.has(name)) continue;
      yield found("unit-user", "warning", node.path, { key, name });
    }
  }
}
