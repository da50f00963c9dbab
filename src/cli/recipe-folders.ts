import { fileURLToPath } from "node:url";

/** The recipes that come with flixwrap, one folder above both `src` and `dist`. */
const ownRecipes = fileURLToPath(new URL("../../recipes", import.meta.url));

/** Where recipes are looked for, in this order: the folder of `--recipes` if there is one, then flixwrap's own. */
export const recipeFolders = (more?: string): string[] => [...(more === undefined ? [] : [more]), ownRecipes];
