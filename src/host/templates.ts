import { readFileSync } from "node:fs";

/** The text of one file of `templates/`, which stands one folder above both `src` and `dist`. */
export function readTemplate(name: string): string {
  return readFileSync(new URL(`../../templates/${name}`, import.meta.url), "utf8");
}
