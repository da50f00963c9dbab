import { expect, it } from "vitest";
import { recipeSchema } from "../../../src/recipes/schema.ts";

// The published file follows the code: `npx vitest run -u test/unit/recipes/schema.test.ts` writes it.
it("is what docs/ publishes", async () => {
  await expect(`${JSON.stringify(recipeSchema, undefined, 2)}\n`).toMatchFileSnapshot(
    "../../../docs/recipe.schema.json",
  );
});
