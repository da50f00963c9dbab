import { unitFolder } from "../units/names.ts";
import { type Finding, found } from "./finding.ts";
import type { Subject } from "./subject.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { rootPath } from "../../core/paths.ts";
import { findArchitecture } from "../../core/architectures.ts";
import { parseName, strictXattr } from "../release.ts";

/** Words of ARCHITECTURE= (UAPI.4), besides `_any`. */
const architectureWords = new Set(
  `x86 x86-64 arm arm-be arm64 arm64-be riscv32 riscv64 ppc ppc-le ppc64 ppc64-le s390 s390x loongarch64 mips mips-le
  mips64 mips64-le alpha arc arc-be cris ia64 m68k nios2 parisc parisc64 sh sh64 sparc sparc64 tilegx native`.split(
    /\s+/,
  ),
);

/** How systemd of a version derives from a file's name the name it looks for. */
export function namesOf(fileName: string): { readonly exact: string; readonly later: readonly string[] } {
  const exact = fileName.replace(/\.raw$/, "");
  // systemd 255: the class suffix; 257: all from the first `_` on (a version), so that a name with a `_` of its own
  // cannot have one (test/run/names-live).
  const bare = exact.replace(/\.sysext$/, "");
  return { exact, later: [bare, bare.replace(/_.*$/, "")].filter((name) => name !== exact) };
}

/** Whether systemd, of whatever version, finds the extension `name` in a file of that name, or it is `NAME-VERSION-ARCH.raw`, as images are published. */
export function isFileOf(fileName: string, name: string): boolean {
  const { exact, later } = namesOf(fileName);
  return exact === name || later.includes(name) || fileName.startsWith(`${name}-`);
}

/** There is one, and its name is the one that systemd looks for. */
export function* checkReleaseName({ fileName, releases }: Subject): Iterable<Finding> {
  const files = releases();
  if (files.length === 0) {
    yield found("release-missing", "error", undefined, { wanted: namesOf(fileName).exact });
    return;
  }
  const { exact, later } = namesOf(fileName);
  const names = files.map(({ suffix }) => suffix);
  if (names.includes(exact)) return;
  const byRule = names.find((name) => later.includes(name));
  const [first] = files;
  if (byRule !== undefined) yield found("release-name-new", "note", undefined, { fileName, name: byRule });
  // 250: the only release file may have any name when its xattr says so.
  else if (files.length === 1 && isLax(first!.node.xattrs.get(strictXattr))) return;
  else {
    // `NAME-VERSION-ARCH.raw` is how images are published; it is merged under NAME.raw.
    const published = names.find((name) => fileName.startsWith(`${name}-`));
    yield found("release-name", published === undefined ? "error" : "warning", first!.node.path, {
      fileName,
      names: names.join(", "),
      wanted: exact,
    });
  }
}

/** Whether the attribute's value means no (systemd's parse_boolean). */
export function isLax(value: Uint8Array | undefined): boolean {
  return value !== undefined && /^(0|n|no|f|false|off)\0?$/i.test(Buffer.from(value).toString("latin1"));
}

/** Names that systemd or a shell would stumble over. */
export function* checkName({ releases }: Subject): Iterable<Finding> {
  for (const { node, suffix } of releases())
    try {
      parseName(suffix);
    } catch (error) {
      if (!(error instanceof FlixwrapError)) throw error;
      yield found("name", "warning", node.path, { problem: error.facts.got ?? "" });
    }
}

/** The variables: which hosts accept it. */
export function* checkReleaseFields(subject: Subject): Iterable<Finding> {
  for (const { node, fields } of subject.releases()) {
    const id = fields.get("ID");
    const field = (severity: Finding["severity"], key: string, got: string, problem: string) =>
      found("release-field", severity, node.path, { key, got, problem });
    if (id === undefined || id === "") yield field("error", "ID", "nothing", "systemd refuses the image on every host");
    const isLocked = fields.has("VERSION_ID") || fields.has("SYSEXT_LEVEL");
    if (id === "_any" && isLocked)
      yield field(
        "note",
        "VERSION_ID",
        "ID=_any beside it",
        "with ID=_any neither VERSION_ID= nor SYSEXT_LEVEL= is compared",
      );
    if (id !== undefined && id !== "_any" && !isLocked)
      yield field(
        "warning",
        "VERSION_ID",
        "nothing",
        `hosts of ${id} that have a VERSION_ID= refuse it; SYSEXT_LEVEL= serves too`,
      );
    const architecture = fields.get("ARCHITECTURE");
    if (architecture !== undefined && architecture !== "_any" && !architectureWords.has(architecture)) {
      const meant = findArchitecture(architecture)?.systemd;
      yield field(
        "error",
        "ARCHITECTURE",
        architecture,
        meant === undefined ? "systemd knows no such word" : `systemd's word is ${meant}`,
      );
    }
    const scope = (fields.get("SYSEXT_SCOPE") ?? "system").split(/\s+/);
    if (!scope.includes("system") && !scope.includes("initrd"))
      yield field("error", "SYSEXT_SCOPE", scope.join(" "), "systemd-sysext passes it over");
    for (const key of ["EXTENSION_RESTART_UNITS", "EXTENSION_RELOAD_OR_RESTART_UNITS"])
      for (const unit of (fields.get(key) ?? "").split(/\s+/).filter((word) => word !== ""))
        if (subject.rootfs.lookup(rootPath(`${unitFolder}/${unit}`)) === undefined)
          yield field("note", key, unit, "no unit of this extension");
  }
}
