import { movePath, programFolder } from "./places.ts";

/** A use of a variable as systemd or, behind `$$`, a shell of the command line reads it. */
const use = (name: string): string => String.raw`(?:\$+(?:\{${name}\}|${name}(?!\w)))`;

const binFolder = new RegExp(`${use("TORCX_BINDIR")}|/run/torcx/bin(?![\\w.-])`, "g");
/** A word of its own with braces is an empty argument, without it is none (systemd.service(5)). */
const emptyWord = /(?<=^|\s)\$\{TORCX_IMAGEDIR\}(?=\s|$)/g;
const imageFolder = new RegExp(use("TORCX_IMAGEDIR"), "g");

/**
 * Torcx's variables, and the folders they stand for, replaced by where things are in the extension: `TORCX_BINDIR` is
 * `/usr/bin`, `TORCX_UNPACKDIR` with the image's folder is the root, `TORCX_IMAGEDIR` alone is nothing.
 */
export function replaceVariables(text: string, images: ReadonlySet<string>): string {
  if (!/torcx/i.test(text)) return text;
  const names = [...images].map((name) => name.replace(/[^\w]/g, String.raw`\$&`)).join("|") || "(?!)";
  const image = String.raw`(?:${use("TORCX_IMAGEDIR")}|/(?:${names})(?![\w.-]))`;
  // Torcx's folder as text is left alone when it is another image's.
  const unpacked = new RegExp(
    String.raw`(?:${use("TORCX_UNPACKDIR")}${image}?|/run/torcx/unpack(?:${image}|(?![\w./-])))(?<rest>/[^\s"':;,]*)?`,
    "g",
  );
  return text
    .replace(unpacked, (whole: string, ...groups: unknown[]) => {
      const { rest } = groups.at(-1) as { rest?: string };
      return literalDollars(whole) + movePath(rest ?? "/");
    })
    .replace(binFolder, (whole: string) => literalDollars(whole) + programFolder)
    .replace(emptyWord, '""')
    .replace(imageFolder, literalDollars);
}

/**
 * The dollars before a variable that stay, as each `$$` stands for one: of an odd run the last one began the variable, of an
 * even run the last two did (for a shell of the command line).
 */
function literalDollars(text: string): string {
  const count = /^\$*/.exec(text)![0].length;
  return "$".repeat(Math.max(0, count % 2 === 1 ? count - 1 : count - 2));
}
