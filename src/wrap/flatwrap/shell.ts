import { printable } from "../../core/errors.ts";

/** Any text as one word of POSIX sh. Plain words stay as they are, so that generated scripts read well. */
export function quoteWord(text: string): string {
  return /^[A-Za-z0-9_./+:@%,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** What may stand in a comment: one line, and nothing that a terminal would act on. */
export const quoteComment = (text: string): string => printable(text);

/** What stands in for placeholders, by their names; a list gives lines or words. */
export type TemplateValues = Readonly<Record<string, string | readonly string[]>>;

/**
 * A text of `templates/` with every `@name@` replaced. A line that holds nothing but a placeholder becomes as many
 * lines as its value has, each with the placeholder's indentation; elsewhere a list is joined by spaces.
 */
export function fillTemplate(template: string, values: TemplateValues): string {
  // One pass, so that a value that looks like a placeholder stays what it is.
  return template.replace(/^([ \t]*)@([a-z-]+)@\n|@([a-z-]+)@/gm, (_, indent, line?: string, word?: string) => {
    const value = values[line ?? word ?? ""];
    if (value === undefined) throw new Error(`the template asks for @${line ?? word}@, which nobody gives`);
    if (line === undefined) return [value].flat().join(" ");
    return [value]
      .flat()
      .map((text) => `${indent}${text}\n`)
      .join("");
  });
}
