import { Command } from "commander";
import type { BakeOptions } from "../convert/bake.ts";
import { FlixwrapError } from "../core/errors.ts";
import { newCommand } from "./option-row.ts";
import { indexOptions, jsonOption, listOptions, skeletonOptions, versionsOptions } from "./options.ts";
import type { Session } from "./program.ts";
import { recipeFolders } from "./recipe-folders.ts";

/** `flixwrap list` */
export function listCommand(session: Session): Command {
  return newCommand("list", listOptions, session.env)
    .description("List the recipes: what each ships, how it is made, its options.")
    .action(async (options: { readonly json?: boolean; readonly plain?: boolean; readonly recipes?: string }) => {
      const { readCatalogue, describeRecipe } = await import("../recipes/index.ts");
      const { openPorts } = await import("../convert/bake.ts");
      const { web } = openPorts({ offline: true }, session.context({ json: options.json === true, quiet: true }));
      const recipes = readCatalogue(recipeFolders(options.recipes));
      if (options.plain) return session.terminal.out(recipes.map(({ name }) => `${name}\n`).join(""));
      const rows = [];
      for (const recipe of recipes) rows.push(await describeRecipe(recipe, web));
      if (options.json) return session.terminal.out(`${JSON.stringify(rows)}\n`);
      for (const { name, kinds, summary } of rows)
        session.terminal.out(`${name.padEnd(18)} ${kinds.join("+").padEnd(10)} ${summary}\n`);
    });
}

/** `flixwrap versions NAME` */
export function versionsCommand(session: Session): Command {
  return newCommand("versions", versionsOptions, session.env)
    .description("List what upstream offers of a recipe, newest first.")
    .argument("<recipe>", "name, or a folder of one's own with a slash in it")
    .action(async (name: string, options: BakeOptions & VersionFlags) => {
      const { findRecipe, latestVersions, listPublished, listVersions, publishedVersions, sourcesOf } =
        await import("../recipes/index.ts");
      const { openPorts } = await import("../convert/bake.ts");
      const { file, name: recipe } = findRecipe(name, recipeFolders(options.recipes));
      if (file.versions === undefined)
        throw new FlixwrapError("recipe-unknown-version", { what: "this recipe has no versions", got: name });
      const sources = sourcesOf(openPorts(options, session.context({ json: options.json === true, quiet: true })));
      const found =
        options.published === undefined
          ? await (options.latest ? latestVersions : listVersions)(file.versions, sources)
          : publishedVersions(recipe, file.versions, await listPublished(options.published, sources.web));
      session.terminal.out(
        options.json ? `${JSON.stringify(found)}\n` : found.map((version) => `${version}\n`).join(""),
      );
    });
}

interface VersionFlags {
  readonly latest?: boolean;
  readonly published?: string;
  readonly json?: boolean;
  readonly recipes?: string;
}

/** `flixwrap recipe new|check` */
export function recipeCommand(session: Session): Command {
  const make = newCommand("new", skeletonOptions, session.env)
    .description("Write a commented skeleton.")
    .argument("<folder>", "the new recipe's folder; its last part is the name")
    .action(async (folder: string, options: { readonly kind: "static" | "flix" | "flatwrap" }) => {
      const { basename, dirname } = await import("node:path");
      const { writeSkeleton } = await import("../recipes/index.ts");
      for (const path of writeSkeleton(dirname(folder), basename(folder), options.kind))
        session.terminal.out(`${path}\n`);
    });
  const check = newCommand("check", [jsonOption], session.env)
    .description("Look a recipe over without a download.")
    .argument("<recipe>", "name, or a folder with a slash in it")
    .action(async (name: string, options: { readonly json?: boolean }) => {
      const { checkRecipe, findRecipe } = await import("../recipes/index.ts");
      const findings = checkRecipe(findRecipe(name, recipeFolders()));
      if (options.json) session.terminal.out(`${JSON.stringify(findings)}\n`);
      else
        for (const { severity, where, message } of findings)
          session.terminal.out(`${severity}: ${where}: ${message}\n`);
      if (findings.some(({ severity }) => severity === "error")) session.finish(1);
    });
  return new Command("recipe").description("Make and check recipes of one's own.").addCommand(make).addCommand(check);
}

/** `flixwrap index FOLDER` */
export function indexCommand(session: Session): Command {
  return newCommand("index", indexOptions, session.env)
    .description("Write checksum files and update definitions for a folder of images that a server offers.")
    .argument("<folder>", "holds NAME-VERSION-ARCH.raw files")
    .action(
      async (
        folder: string,
        options: { readonly url?: string; readonly bestBefore?: string; readonly gpgKey?: string },
      ) => {
        const { writeIndex } = await import("../convert/index-folder.ts");
        const { readCatalogue } = await import("../recipes/index.ts");
        const recipes = readCatalogue(recipeFolders());
        const written = await writeIndex(folder, options, recipes, session.context({ json: false, quiet: false }));
        for (const path of written) session.terminal.out(`${path}\n`);
      },
    );
}
