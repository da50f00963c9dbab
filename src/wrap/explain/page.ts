import { createHash } from "node:crypto";
import type { Explanation } from "./explanation.ts";

/**
 * The explanation as one page of HTML that loads nothing; `template` is `templates/explain.html`. Names from the image
 * are in it only as JSON, and the page's policy (CSP level 2, hashes) lets the page's own script run and no other.
 */
export function formatPage(explanation: Explanation, template: string): string {
  // `</script` and `<!--` would end or change the element that holds the data (HTML, 4.12.1.3).
  const data = JSON.stringify(explanation).replace(/[<>&\u2028\u2029]/g, (character) => `\\u${hex(character)}`);
  const values: Readonly<Record<string, string>> = {
    data,
    style: hashOf(/<style>(.*?)<\/style>/s.exec(template)?.[1]),
    script: hashOf(/<script>(.*?)<\/script>/s.exec(template)?.[1]),
  };
  return template.replaceAll(/\{\{(\w+)\}\}/g, (whole, key: string) => values[key] ?? whole);
}

const hex = (character: string): string => character.charCodeAt(0).toString(16).padStart(4, "0");
const hashOf = (text = ""): string => createHash("sha256").update(text).digest("base64");
