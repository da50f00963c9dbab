import { braceExpand, Minimatch } from "minimatch";
import { matchComponent, parseComponent } from "./glob.ts";

/**
 * A test for paths by a pattern of minimatch's language (braces, `**`, `*`, `?`, brackets; names with a leading dot are
 * like others). Not by its expressions, where that can be helped: an image's name of 250 dashes would hold `*-*-*-*.so`
 * up for seconds, and it may have a million such names.
 */
export function compilePathGlob(pattern: string): (path: string) => boolean {
  const expanded = braceExpand(pattern).map((one) => one.split(/\/+/));
  // The rest of the language: alternatives in parentheses, named classes, steps.
  if (/[?*+@!]\(|\[\[/.test(pattern) || expanded.some((parts) => parts.includes(".") || parts.includes(".."))) {
    const whole = new Minimatch(pattern, { dot: true, nocomment: true, nonegate: true });
    return (path) => whole.match(path);
  }
  const alternatives = expanded.map((parts) =>
    parts.map((part) => (part === "**" ? ("**" as const) : parseComponent(part))),
  );
  return (path) => {
    const names = path.split("/");
    return alternatives.some((parts) => matchParts(names, parts));
  };
}

type Part = "**" | ReturnType<typeof parseComponent>;

/** As {@link matchComponent} does it with characters: the last `**` is the one place to return to. */
function matchParts(names: readonly string[], parts: readonly Part[]): boolean {
  let [at, part, deepPart, deepAt] = [0, 0, -1, 0];
  while (at < names.length) {
    const wanted = parts[part];
    if (wanted === "**") {
      [deepPart, deepAt] = [part, at];
      part++;
    } else if (wanted !== undefined && matchComponent(names[at]!, wanted)) {
      at++;
      part++;
    } else if (deepPart >= 0) {
      deepAt++;
      [at, part] = [deepAt, deepPart + 1];
    } else return false;
  }
  // A last `**` stands for something.
  return part === parts.length;
}
