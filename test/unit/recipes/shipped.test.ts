import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkRecipe } from "../../../src/recipes/check.ts";
import { readRecipe, recipeNames } from "../../../src/recipes/recipe.ts";

describe.each(recipeNames("recipes"))("%s", (name) => {
  const recipe = readRecipe(join("recipes", name));

  it("has no mistake that can be seen without a download", () => {
    expect(checkRecipe(recipe).filter(({ severity }) => severity === "error")).toEqual([]);
  });

  it("says where it comes from and under which licence", () => {
    expect(recipe.file.homepage).toMatch(/^https:/);
    expect(recipe.file.license).toMatch(/^[A-Za-z0-9.-]+( (AND|OR|WITH) [A-Za-z0-9.-]+)*$/);
    expect(recipe.file.summary.length).toBeLessThan(90);
  });

  it("lets editors find the schema", () => {
    const [first] = readFileSync(join("recipes", name, "recipe.yaml"), "utf8").split("\n");
    expect(first).toBe("# yaml-language-server: $schema=../../docs/recipe.schema.json");
  });
});

it("holds nothing but recipes", () => {
  expect(readdirSync("recipes").sort()).toEqual(recipeNames("recipes"));
});
