import { addSettings, formatUnit, parseUnit, type Setting, type UnitItem } from "../../extension/units/unit-file.ts";
import { splitWords } from "../../extension/units/words.ts";
import { replaceVariables } from "./variables.ts";

/** How {@link rewriteUnit} edits. */
export interface RewriteOptions {
  /** Names of the Torcx image: folders in torcx's unpack folder whose content is the extension now. */
  readonly images: ReadonlySet<string>;
  /** Scripts read the variables, so services that had them go on having them. */
  readonly needsVariables?: boolean;
}

/** A unit that no longer needs Torcx. */
export interface RewrittenUnit {
  readonly text: string;
  /** Lines that still speak of Torcx, comments apart: nobody can tell what they are for. */
  readonly leftovers: readonly string[];
}

/** The file with torcx's variables (torcx's seal, written at boot). */
const seal = /^[-|!"']*\/run\/metadata\/+torcx["']?$/;
const assignment = /^["']?TORCX_(BINDIR|UNPACKDIR|IMAGEDIR)(=|["']?$)/;

/** Settings that are lists of unit names (systemd.unit(5)). */
const unitLists =
  /^(After|Before|Requires|Requisite|Wants|BindsTo|PartOf|Upholds|Conflicts|OnFailure|OnSuccess|PropagatesReloadTo|ReloadPropagatedFrom|PropagatesStopTo|StopPropagatedFrom|JoinsNamespaceOf|WantedBy|RequiredBy|UpheldBy|Also|Service|Sockets|Unit)$/;

/** One row per rule, applied in order to the text of a setting; a setting that loses all of its text goes. */
const rules: readonly {
  readonly keys: RegExp;
  readonly edit: (text: string, options: RewriteOptions) => string;
}[] = [
  { keys: /^EnvironmentFile$/, edit: (text) => dropWords(text, (word) => seal.test(word)) },
  // Always false from now on: the unit would never start.
  { keys: /^(Condition|Assert)/, edit: (text) => dropWords(text, (word) => seal.test(word)) },
  { keys: /^(Pass|Unset)?Environment$/, edit: (text) => dropWords(text, (word) => assignment.test(word)) },
  { keys: unitLists, edit: (text) => dropWords(text, (word) => word === "torcx.target") },
  { keys: /^(?!Description$|Documentation$)/, edit: (text, { images }) => replaceVariables(text, images) },
];

/**
 * A unit or drop-in without Torcx: no wait for `torcx.target`, no file of variables, and the variables' values where
 * they were used. Everything else stays as it is, comments, continuation lines and line ends included.
 */
export function rewriteUnit(text: string, options: RewriteOptions): RewrittenUnit {
  const unit = parseUnit(text);
  let hadVariables = false;
  const items = unit.items.flatMap((item): UnitItem[] => {
    if (item.kind !== "setting") return [item];
    const edited = rules.reduce<Setting | undefined>(
      (setting, rule) =>
        setting === undefined || !rule.keys.test(setting.key)
          ? setting
          : editSetting(setting, (part) => rule.edit(part, options)),
      item,
    );
    if (edited === undefined && item.key === "EnvironmentFile" && item.section === "Service") hadVariables = true;
    return edited === undefined ? [] : [edited];
  });
  const result =
    hadVariables && options.needsVariables === true
      ? addSettings({ items }, "Service", [["Environment", "TORCX_BINDIR=/usr/bin TORCX_UNPACKDIR=/ TORCX_IMAGEDIR="]])
      : { items };
  const leftovers = items
    .filter((item) => item.kind === "setting" && !/^(Description|Documentation)$/.test(item.key))
    .filter((item) => /torcx/i.test((item as Setting).value))
    .map((item) => item.raw.trim());
  return { text: formatUnit(result), leftovers };
}

/** Values of `TORCX_IMAGEDIR=/docker` in a unit: the image's folder below torcx's unpack folder. */
export function imagesOf(text: string): readonly string[] {
  return parseUnit(text).items.flatMap((item) => {
    if (item.kind !== "setting" || item.key !== "Environment") return [];
    return (splitWords(item.value) ?? []).flatMap((word) => /^TORCX_IMAGEDIR=\/([^/]+)$/.exec(word)?.[1] ?? []);
  });
}

/** The setting after `edit`; undefined when nothing is left of it. */
function editSetting(setting: Setting, edit: (text: string) => string): Setting | undefined {
  const value = edit(setting.value).trim();
  if (value === setting.value) return setting;
  if (value === "") return undefined;
  const raw = editLines(setting.raw, edit);
  const parsed = parseUnit(`[${setting.section}]\n${raw}`).items[1];
  if (parsed?.kind === "setting" && squeeze(parsed.value) === squeeze(value)) return { ...setting, value, raw };
  // A quoted word that spans lines: all on one line means the same.
  return { ...setting, value, raw: `${setting.key}=${value}${/\r?\n$/.exec(setting.raw)?.[0] ?? ""}` };
}

const squeeze = (text: string): string => text.replace(/\s+/g, " ").trim();

/** Every line of a setting's value by itself; comments between continuation lines stay. */
function editLines(raw: string, edit: (text: string) => string): string {
  const start = raw.indexOf("=") + 1;
  const lines = raw.slice(start).match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const edited = lines.map((line, at) => {
    if (at > 0 && /^\s*[#;]/.test(line)) return line;
    const end = /\s*\\?\r?\n?$/.exec(line)!;
    const body = edit(line.slice(0, end.index));
    // A line that is no longer needed goes, unless it ends the setting.
    if (at > 0 && body.trim() === "" && end[0].includes("\\") && end.index > 0) return "";
    return body + end[0];
  });
  return raw.slice(0, start) + edited.join("");
}

/** Words as they are written, quotes and escapes included. */
const word = /(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+/g;

function dropWords(text: string, isDropped: (word: string) => boolean): string {
  let dropped = false;
  const kept = text.replace(new RegExp(`(${word.source})(\\s*)`, "g"), (whole, one: string) => {
    if (!isDropped(one)) return whole;
    dropped = true;
    return "";
  });
  return dropped ? kept.trimEnd() : text;
}
