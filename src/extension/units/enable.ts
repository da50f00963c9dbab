import { defined } from "../../core/defined.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { extPath } from "../../core/paths.ts";
import type { Action } from "../plan.ts";
import { isUnitName, unitFileName, unitFolder, unitKind } from "./names.ts";
import { type UnitFile, valuesOf } from "./unit-file.ts";
import { splitWords } from "./words.ts";

/** How a unit is enabled inside an extension, where `systemctl enable` cannot write. */
export type UpholdsForm =
  /** A drop-in of the target (systemd 249 and later). */
  | "drop-in"
  /** A link in `TARGET.upholds/` (systemd 254 and later). */
  | "symlink";

/** What a unit without an `[Install]` section of its own is wanted by. */
const usualTarget: Readonly<Record<string, string>> = {
  socket: "sockets.target",
  timer: "timers.target",
  path: "paths.target",
};

/**
 * The actions that make the host start `name` after each merge: the targets of the unit's own `[Install]` uphold
 * it, so that it is started again when a refresh stopped it (`Wants=` would act at boot only). Units it names in
 * `Also=` are enabled with it.
 *
 * @param read the unit file of that name, from the extension or the root.
 * @throws FlixwrapError `extension-unit` for names that are no units, templates without an instance, and units
 *   that `read` does not know.
 */
export function planEnable(
  names: readonly string[],
  read: (fileName: string) => UnitFile | undefined,
  form: UpholdsForm = "drop-in",
): Action[] {
  const actions = new Map<string, Action>();
  const done = new Set<string>();
  const pending = [...names];
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (done.has(name)) continue;
    done.add(name);
    const asked = names.includes(name);
    const unit = isUnitName(name) ? read(unitFileName(name)) : undefined;
    // What Also= names may be a unit that is not shipped.
    if (unit === undefined && !asked) continue;
    if (unit === undefined)
      throw refusal(name, isUnitName(name) ? "no such unit in the extension" : "no name of a unit");
    const instance = withInstance(name, unit);
    for (const target of targetsOf(instance, unit)) {
      const action = uphold(target, instance, form);
      actions.set(action.to, action);
    }
    pending.push(...wordsOf(unit, "Also"));
  }
  return [...actions.values()];
}

/** `x@.service` is enabled as its `DefaultInstance=`. */
function withInstance(name: string, unit: UnitFile): string {
  if (!/@\.[a-z]+$/.test(name)) return name;
  const instance = valuesOf(unit, "Install", "DefaultInstance").at(-1);
  if (instance === undefined) throw refusal(name, "a template without an instance", "name one, as in x@1.service");
  const made = name.replace(/@\./, () => `@${instance}.`);
  // It becomes a part of paths.
  if (!isUnitName(made)) throw refusal(name, `the instance ${instance}`);
  return made;
}

function targetsOf(name: string, unit: UnitFile): readonly string[] {
  const targets = ["WantedBy", "RequiredBy", "UpheldBy"].flatMap((key) => wordsOf(unit, key)).filter(isUnitName);
  if (targets.length > 0) return [...new Set(targets)];
  return [usualTarget[unitKind(name) ?? ""] ?? "multi-user.target"];
}

function wordsOf(unit: UnitFile, key: string): readonly string[] {
  return valuesOf(unit, "Install", key).flatMap((value) => splitWords(value) ?? []);
}

function uphold(target: string, name: string, form: UpholdsForm): Action {
  const why = `enables ${name}`;
  if (form === "symlink")
    return {
      kind: "symlink",
      to: extPath(`${unitFolder}/${target}.upholds/${name}`),
      target: `../${unitFileName(name)}`,
      why,
    };
  return {
    kind: "write",
    to: extPath(`${unitFolder}/${target}.d/10-${name}.conf`),
    content: Buffer.from(`[Unit]\nUpholds=${name}\n`),
    mode: 0o644,
    why,
  };
}

function refusal(name: string, got: string, hint?: string): FlixwrapError {
  return new FlixwrapError("extension-unit", {
    what: "cannot enable the unit",
    where: name,
    got,
    ...defined({ hint }),
  });
}
