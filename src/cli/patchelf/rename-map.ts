import { OptionProblem } from "./options.ts";

/** The old and new names of `--rename-dynamic-symbols`: two words a line, as far as the first empty line. */
export function parseRenameMap(path: string, text: string): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    const [from, to] = line.trim().split(/\s+/);
    if (!from) break;
    const refuse = (what: string) => new OptionProblem(`${path}:${index + 1}: ${what}`);
    if (to === undefined) throw refuse("Map file line is missing the second element");
    if (names.has(from)) throw refuse(`Name '${from}' appears twice in the map file`);
    if (from.includes("@") || to.includes("@")) throw refuse(`Name pair contains version tag: ${from} ${to}`);
    names.set(from, to);
  }
  return names;
}
