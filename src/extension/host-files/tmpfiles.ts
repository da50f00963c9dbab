/** One line of tmpfiles.d(5). */
export interface TmpfilesLine {
  /** `d` makes a folder, `C` copies when nothing is there, `L` links when nothing is there. */
  readonly type: "d" | "C" | "L";
  readonly path: string;
  /** Permission bits; absent for links. */
  readonly mode?: number;
  readonly user?: string;
  readonly group?: string;
  /** Source of `C`, target of `L`. */
  readonly argument?: string;
}

/** The lines as a file, in the order given. */
export function formatTmpfiles(lines: readonly TmpfilesLine[]): string {
  return lines
    .map(({ type, path, mode, user, group, argument }) => {
      const octal = mode === undefined ? "-" : mode.toString(8).padStart(4, "0");
      const fields = [type, field(path), octal, user ?? "-", group ?? "-"];
      return argument === undefined ? fields.join(" ") : [...fields, "-", field(argument)].join(" ");
    })
    .map((line) => `${line}\n`)
    .join("");
}

/** Fields are unquoted and C-unescaped by systemd, and `%` begins a specifier. */
export function field(text: string): string {
  const escaped = text.replace(/%/g, "%%");
  if (!/[\s"'\\\u0000-\u001f]/.test(escaped)) return escaped;
  const inner = escaped
    .replace(/[\\"]/g, "\\$&")
    .replace(/[\u0000-\u001f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${inner}"`;
}
