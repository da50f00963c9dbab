import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { extPath } from "../core/paths.ts";
import type { Action } from "./plan.ts";

/** What extension-release says (UAPI.4 "OS Extension Images", os-release(5)). */
export interface Release {
  readonly name: string;
  /** systemd's word for the architecture (`x86-64`); undefined leaves the line out: any host. */
  readonly architecture?: string;
  /** `ID=`; `_any` when not given. */
  readonly os?: string;
  readonly versionId?: string;
  /** `1.0` when not given and `os` is `flatcar`, whose hosts have that level. */
  readonly sysextLevel?: string;
  /** Words of `system`, `initrd`, `portable`. */
  readonly scope?: readonly string[];
  /** systemd 255 and later reload themselves after the merge, so that units are seen. */
  readonly reload?: boolean;
  /** Units that a newer systemd (262) restarts, or reloads where they can, after each merge. */
  readonly restartUnits?: readonly string[];
  readonly reloadOrRestartUnits?: readonly string[];
  /** Informative lines, without meaning to systemd: `FLIXWRAP_IMAGE`, `SYSEXT_VERSION_ID`. */
  readonly notes?: Readonly<Record<string, string>>;
  /** Hosts may merge it under any file name: an xattr says so (systemd 250 and later). */
  readonly anyFileName?: boolean;
}

/** `0` lets an image's file name differ from the name in its one extension-release (os-release(5)). */
export const strictXattr = "user.extension-release.strict";

/** `/usr/lib/extension-release.d`, where systemd looks for {@link planRelease}'s file. */
export const releaseFolder = extPath("/usr/lib/extension-release.d");

/**
 * The name of an extension. It becomes a file name, a part of paths in scripts and units, and systemd compares it
 * (`image_name_is_valid()`), so: a letter or digit first, then letters, digits and `._+-`.
 * @throws FlixwrapError `extension-name`.
 */
export function parseName(text: string): string {
  // `extension-release.NAME` must fit NAME_MAX.
  const longest = 255 - "extension-release.".length;
  const bad = (got: string, hint?: string) =>
    new FlixwrapError("extension-name", {
      what: "not a name for an extension",
      where: text === "" ? "(empty)" : text,
      got,
      wanted: `letters, digits and . _ + -, beginning with a letter or digit, at most ${longest} of them`,
      ...defined({ hint }),
    });
  if (text === "") throw bad("nothing");
  if (text.includes("/")) throw bad("a path", "give the place of the image with --output");
  if (text.startsWith(".")) throw bad("a leading dot");
  if (/\s/.test(text)) throw bad("a space");
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) throw bad("a control character");
  if (/\.(raw|v)$/.test(text))
    throw bad(`the ending ${text.slice(text.lastIndexOf("."))}`, "leave it out, systemd cuts it off");
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(text)) throw bad("another character");
  if (text.length > longest) throw bad(`${text.length} characters`);
  return text;
}

/** The action that writes `extension-release.NAME`. @throws FlixwrapError `extension-release` for a bad value. */
export function planRelease(release: Release): Action {
  return {
    kind: "write",
    to: extPath(`${releaseFolder}/extension-release.${parseName(release.name)}`),
    content: Buffer.from(formatRelease(release)),
    mode: 0o644,
    ...(release.anyFileName === true ? { xattrs: new Map([[strictXattr, Buffer.from("0")]]) } : {}),
    why: "tells systemd which hosts the extension fits",
  };
}

/** Fields with a meaning to systemd; each has an option of its own. */
const decidingFields = new Set(
  `ID VERSION_ID SYSEXT_LEVEL SYSEXT_SCOPE ARCHITECTURE EXTENSION_RELOAD_MANAGER EXTENSION_RESTART_UNITS
  EXTENSION_RELOAD_OR_RESTART_UNITS`.split(/\s+/),
);

/** `KEY=VALUE` lines of the user's own, the last of each key. @throws FlixwrapError `extension-release`. */
export function parseNotes(lines: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, key, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(line) ?? [];
      const bad = (facts: { wanted?: string; hint?: string }): FlixwrapError =>
        new FlixwrapError("extension-release", { what: "not a line for extension-release", got: line, ...facts });
      if (key === undefined) throw bad({ wanted: "KEY=VALUE, the key in capital letters" });
      if (decidingFields.has(key)) throw bad({ hint: `${key} has an option of its own` });
      return [key, value!];
    }),
  );
}

/** The lines of extension-release, in a fixed order. */
export function formatRelease(release: Release): string {
  const id = release.os ?? "_any";
  const level = release.sysextLevel ?? (id === "flatcar" && release.versionId === undefined ? "1.0" : undefined);
  const fields: readonly (readonly [string, string | undefined])[] = [
    ["ID", word("ID", id, /^(_any|[a-z0-9][a-z0-9._-]*)$/)],
    ["VERSION_ID", word("VERSION_ID", release.versionId, /^[a-z0-9._-]+$/)],
    ["SYSEXT_LEVEL", word("SYSEXT_LEVEL", level, /^[A-Za-z0-9._~^-]+$/)],
    [
      "SYSEXT_SCOPE",
      word("SYSEXT_SCOPE", release.scope?.join(" "), /^(system|initrd|portable)( (system|initrd|portable))*$/),
    ],
    ["ARCHITECTURE", word("ARCHITECTURE", release.architecture, /^[a-z0-9_-]+$/)],
    ["EXTENSION_RELOAD_MANAGER", release.reload === true ? "1" : undefined],
    ["EXTENSION_RESTART_UNITS", unitList("EXTENSION_RESTART_UNITS", release.restartUnits)],
    ["EXTENSION_RELOAD_OR_RESTART_UNITS", unitList("EXTENSION_RELOAD_OR_RESTART_UNITS", release.reloadOrRestartUnits)],
    ...Object.entries(release.notes ?? {}).map(
      ([key, value]) => [word("key", key, /^[A-Z][A-Z0-9_]*$/)!, value] as const,
    ),
  ];
  return fields.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${quote(value)}\n`])).join("");
}

/** The variables of an os-release like file; what is no assignment is passed over, as systemd does. */
export function parseRelease(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*$/.exec(line);
    if (match !== null) fields.set(match[1]!, unquote(match[2]!));
  }
  return fields;
}

const unitName = /^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|path|target|mount|automount|swap|slice|scope)$/;

function unitList(key: string, units: readonly string[] = []): string | undefined {
  for (const unit of units) word(key, unit, unitName);
  return units.length === 0 ? undefined : units.join(" ");
}

function word(key: string, value: string | undefined, allowed: RegExp): string | undefined {
  if (value === undefined || allowed.test(value)) return value;
  throw new FlixwrapError("extension-release", { what: `bad value for ${key}= in extension-release`, got: value });
}

/** os-release(5): values with other characters stand in double quotes, with `"$\`` and backslash escaped. */
function quote(value: string): string {
  const line = value.replace(/[\r\n\0]+/g, " ");
  return /^[A-Za-z0-9._-]*$/.test(line) ? line : `"${line.replace(/[\\"$`]/g, "\\$&")}"`;
}

function unquote(value: string): string {
  const first = value[0];
  if (first === "'" && value.endsWith("'") && value.length > 1) return value.slice(1, -1);
  if (first === '"' && value.endsWith('"') && value.length > 1) return value.slice(1, -1).replace(/\\([\\"$`])/g, "$1");
  return value;
}
