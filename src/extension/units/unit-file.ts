/**
 * systemd's unit files as text that can be changed: every line that no edit touches stays as it was, comments,
 * blank lines, continuations and repeated keys included. Syntax: systemd.syntax(7).
 */
export interface UnitFile {
  readonly items: readonly UnitItem[];
}

/** A line of a unit, or several that continue each other. */
export type UnitItem =
  | { readonly kind: "section"; readonly name: string; readonly raw: string }
  /** `value` is joined over continuation lines and trimmed; `raw` is all of its lines. */
  | {
      readonly kind: "setting";
      readonly section: string;
      readonly key: string;
      readonly value: string;
      readonly raw: string;
    }
  /** Comments, blank lines, and what systemd would complain about and skip. */
  | { readonly kind: "other"; readonly raw: string; readonly problem?: string };

/** An item `Key=value`. */
export type Setting = Extract<UnitItem, { kind: "setting" }>;

/** Reads any text; what is no section, setting or comment becomes an `other` with its problem. Never throws. */
export function parseUnit(text: string): UnitFile {
  const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const items: UnitItem[] = [];
  let section = "";
  for (let at = 0; at < lines.length;) {
    const first = lines[at]!;
    const line = first.trim();
    if (line === "" || /^[#;]/.test(line)) {
      items.push({ kind: "other", raw: first });
      at++;
      continue;
    }
    const header = /^\[([^\]]+)\]$/.exec(line);
    if (header !== null) {
      section = header[1]!;
      items.push({ kind: "section", name: section, raw: first });
      at++;
      continue;
    }
    const { raw, text: joined, next } = joinLines(lines, at);
    at = next;
    const equals = joined.indexOf("=");
    const key = joined.slice(0, equals).trim();
    if (equals < 1 || key === "") items.push({ kind: "other", raw, problem: "neither a section nor KEY=VALUE" });
    else if (section === "") items.push({ kind: "other", raw, problem: "a setting before any section" });
    else items.push({ kind: "setting", section, key, value: joined.slice(equals + 1).trim(), raw });
  }
  return { items };
}

/** A backslash at a line's end becomes a space; comment lines in between are left out. */
function joinLines(lines: readonly string[], from: number): { raw: string; text: string; next: number } {
  let raw = "";
  let text = "";
  for (let at = from; at < lines.length; at++) {
    const line = lines[at]!;
    raw += line;
    if (at > from && /^\s*[#;]/.test(line)) continue;
    const bare = line.replace(/\r?\n$/, "");
    if (!bare.endsWith("\\")) return { raw, text: text + bare, next: at + 1 };
    text += `${bare.slice(0, -1)} `;
  }
  return { raw, text, next: lines.length };
}

/** The text again; of an unchanged file, byte for byte the one that was parsed. */
export function formatUnit(unit: UnitFile): string {
  return unit.items.map((item) => item.raw).join("");
}

/** The settings of a section, in file order. Without `key`, all of them. */
export function settingsOf(unit: UnitFile, section: string, key?: string): readonly Setting[] {
  return unit.items.filter(
    (item): item is Setting =>
      item.kind === "setting" && item.section === section && (key === undefined || item.key === key),
  );
}

/**
 * The values of a list setting (`Wants=`, `ExecStart=`) in order: an empty assignment clears what came before it
 * (systemd.unit(5)).
 */
export function valuesOf(unit: UnitFile, section: string, key: string): readonly string[] {
  const values: string[] = [];
  for (const { value } of settingsOf(unit, section, key))
    if (value === "") values.length = 0;
    else values.push(value);
  return values;
}

/**
 * Every setting through `edit`: a new value replaces the setting's lines, undefined removes them, the same value
 * leaves them as they are.
 */
export function editSettings(unit: UnitFile, edit: (setting: Setting) => string | undefined): UnitFile {
  return {
    items: unit.items.flatMap((item): UnitItem[] => {
      if (item.kind !== "setting") return [item];
      const value = edit(item);
      if (value === item.value) return [item];
      if (value === undefined) return [];
      // A value on one line is replaced in its place: its spacing and its newline stay.
      const raw =
        item.value !== "" && item.raw.includes(item.value)
          ? item.raw.replace(item.value, () => value)
          : `${item.key}=${value}\n`;
      return [{ ...item, value, raw }];
    }),
  };
}

/** Adds settings right after the section's header, or a new section at the end. */
export function addSettings(
  unit: UnitFile,
  section: string,
  settings: readonly (readonly [key: string, value: string])[],
): UnitFile {
  const added = settings.map(([key, value]): Setting => ({
    kind: "setting",
    section,
    key,
    value,
    raw: `${key}=${value}\n`,
  }));
  const at = unit.items.findIndex((item) => item.kind === "section" && item.name === section);
  const before = closeLine(at === -1 ? unit.items : unit.items.slice(0, at + 1));
  if (at !== -1) return { items: [...before, ...added, ...unit.items.slice(at + 1)] };
  const gap: UnitItem[] = before.length === 0 ? [] : [{ kind: "other", raw: "\n" }];
  return { items: [...before, ...gap, { kind: "section", name: section, raw: `[${section}]\n` }, ...added] };
}

/** A last line without its newline gets one before something follows it. */
function closeLine(items: readonly UnitItem[]): UnitItem[] {
  const last = items.at(-1);
  if (last === undefined || last.raw.endsWith("\n")) return [...items];
  return [...items.slice(0, -1), { ...last, raw: `${last.raw}\n` }];
}
