import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { expect, it } from "vitest";
import { recipeSchema } from "../../../src/recipes/schema.ts";

// The published file follows the code: `npx vitest run test/unit/recipes/schema.test.ts -u` writes it.
it("is what docs/ publishes", async () => {
  const text = `${JSON.stringify(recipeSchema, undefined, 2)}\n`;
  const published: unknown = JSON.parse(readFileSync("docs/recipe.schema.json", "utf8"));
  if (isDeepStrictEqual(published, JSON.parse(text))) return;
  await expect(text).toMatchFileSnapshot("../../../docs/recipe.schema.json");
});
