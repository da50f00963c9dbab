import type { RunPathSyntax } from "./policy.ts";

/** Values of `$ORIGIN`, `$LIB` and `$PLATFORM`; a token without a value makes its element void. */
export type TokenValues = Readonly<Partial<Record<string, string>>>;

/** `text` with its tokens replaced; undefined when a token has no value, or when a stray `$` voids the text. */
export function expandTokens(text: string, syntax: RunPathSyntax, values: TokenValues): string | undefined {
  if (!text.includes("$")) return text;
  if (syntax.otherDollar === "void-list" && text.replace(syntax.token, "").includes("$")) return undefined;
  let known = true;
  const expanded = text.replace(syntax.token, (_, braced?: string, bare?: string) => {
    const value = values[braced ?? bare ?? ""];
    known &&= value !== undefined;
    return value ?? "";
  });
  return known ? expanded : undefined;
}

/**
 * The folders of a DT_RPATH or DT_RUNPATH, tokens expanded, each once, without trailing slashes.
 * `""` is the working folder. Elements that a token voids are left out, as the loaders do.
 */
export function parseRunPath(text: string, syntax: RunPathSyntax, values: TokenValues): readonly string[] {
  if (text === "") return [];
  if (syntax.otherDollar === "void-list" && expandTokens(text, syntax, values) === undefined) return [];
  const folders = text.split(syntax.separator).flatMap((element) => {
    if (element === "") return syntax.emptyElement === "skip" ? [] : [""];
    const expanded = expandTokens(element, syntax, values);
    // An element that was not empty but expands to nothing is dropped (fillin_rpath).
    return expanded === undefined || expanded === "" ? [] : [expanded.replace(/(?<=.)\/+$/, "")];
  });
  return [...new Set(folders)];
}
