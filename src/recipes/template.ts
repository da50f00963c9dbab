import { FlixwrapError } from "../core/errors.ts";

/** The names a recipe may use in `{…}`, with their values. */
export type Values = Readonly<Record<string, string>>;

/**
 * `text` with every `{name}` replaced by its value. Braces with anything but one name in them stay as they
 * are, so that glob patterns (`{a,b}`) and JSON need no escaping.
 * @throws FlixwrapError `recipe-unknown-name`
 */
export function fillTemplate(text: string, values: Values, where: string): string {
  return text.replace(/\{([a-z][a-z0-9-]*)\}/g, (_, name: string) => {
    const value = values[name];
    if (value !== undefined) return value;
    throw new FlixwrapError("recipe-unknown-name", {
      what: `the recipe uses {${name}}, which has no value`,
      where,
      wanted: `one of ${Object.keys(values).sort().join(", ")}`,
    });
  });
}

/** The names that `text` uses in `{…}`. */
export const templateNames = (text: string): string[] =>
  [...text.matchAll(/\{([a-z][a-z0-9-]*)\}/g)].map((match) => match[1]!);
