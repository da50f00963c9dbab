import { readFileSync } from "node:fs";
import { FlixwrapError } from "../core/errors.ts";
import type { Plan } from "../extension/plan.ts";
import type { ImagePart } from "./format.ts";
import type { OpenedImage } from "./images.ts";
import { fillTemplate, type Values } from "./template.ts";

/**
 * The entries of an image part, converted. The converters are loaded only here: a recipe of static files needs
 * no ELF code.
 */
export async function convertEntries(
  part: ImagePart,
  { root, environment = [] }: OpenedImage,
  values: Values,
  at: { readonly name: string; readonly prefix: string },
): Promise<Plan> {
  const { parseEntry, parsePrefix } = await import("../wrap/entry.ts");
  const entries = part.entries.map((entry) => parseEntry(fillTemplate(entry, values, "entries")));
  const place = { name: at.name, prefix: parsePrefix(at.prefix) };
  if (part.convert === "flatwrap") {
    const { planFlatwrap } = await import("../wrap/flatwrap.ts");
    const { flatwrapOptionRows, parseFlatwrapOptions, readFlatwrapTemplates } =
      await import("../wrap/flatwrap/options.ts");
    const raw = optionsOf(
      part,
      flatwrapOptionRows.map((row) => row.flags),
      values,
    );
    const templates = readFlatwrapTemplates(readTemplate);
    return planFlatwrap(root, entries, parseFlatwrapOptions(raw, { ...place, templates }));
  }
  optionsOf(part, [], values);
  const { planFlix } = await import("../wrap/flix/plan.ts");
  const { libraryPathOf } = await import("../loader/index.ts");
  return planFlix(root, entries, { ...place, libraryPath: libraryPathOf(environment) });
}

/** `with:` by the names of the command line (`only-needed`) as the converter's own (`onlyNeeded`). */
function optionsOf(
  part: ImagePart,
  flags: readonly string[],
  values: Values,
): Record<string, string | boolean | string[]> {
  const known = flags.map((one) => one.split(" ")[0]!.replace(/^--/, ""));
  return Object.fromEntries(
    Object.entries(part.with).map(([name, value]) => {
      if (!known.includes(name)) {
        throw new FlixwrapError("recipe-invalid", {
          what: `${part.convert} has no option ${name}`,
          where: "with",
          wanted: known.length === 0 ? "none" : known.join(", "),
        });
      }
      const fill = (text: string): string => fillTemplate(text, values, `with.${name}`);
      const filled = typeof value === "string" ? fill(value) : typeof value === "boolean" ? value : value.map(fill);
      return [name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()), filled];
    }),
  );
}

/** `templates/` stands beside `src/` and beside `dist/`. */
const readTemplate = (name: string): string =>
  readFileSync(new URL(`../../templates/${name}`, import.meta.url), "utf8");
