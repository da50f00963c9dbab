import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { describeRecipe, readCatalogue } from "../../../src/recipes/catalogue.ts";

// `UPDATE_DOCS=1 npx vitest run test/unit/recipes/docs.test.ts` writes the table anew.
it("docs/recipes.md lists every recipe", async () => {
  const rows = await Promise.all(readCatalogue(["recipes"]).map((recipe) => describeRecipe(recipe)));
  const lines = rows.map(({ name, summary, kinds, enable, options }) => {
    const started = enable.length === 0 ? "" : enable.map((unit) => `\`${unit}\``).join(", ");
    return `| [${name}](../recipes/${name}/recipe.yaml) | ${summary} | ${kinds.join(", ")} | ${started} | ${Object.keys(
      options,
    )
      .map((option) => `\`--${option}\``)
      .join(" ")} |`;
  });
  const table = [
    "| recipe | what it is | made by | starts with the merge | options |",
    "|---|---|---|---|---|",
    ...lines,
    "",
  ].join("\n");
  const page = readFileSync("docs/recipes.md", "utf8");
  const written = page.replace(
    /(<!-- recipes -->\n)[^]*?(<!-- end of recipes -->)/,
    (_, start: string, end: string) => `${start}${table}${end}`,
  );
  if (process.env["UPDATE_DOCS"] === "1") writeFileSync("docs/recipes.md", written);
  else expect(page).toBe(written);
});
