/** The loader room: what the loaders of a root would map, and why. */
export type { Closure, LoadedObject, MissingLibrary, Process, Reason, SearchRule, SearchedFolder } from "./closure.ts";
export { type CompiledIn, readCompiledIn } from "./compiled-in.ts";
export type { DlopenLevel } from "./dlopen.ts";
export { explainMissing, wordRule } from "./explain.ts";
export { type LoaderFacts, muslPathFile } from "./facts.ts";
export { loaderFamily } from "./family.ts";
export { libraryPathOf } from "./library-path.ts";
export { type PluginFolder, findPluginFolders } from "./plugins.ts";
export { type LoaderPolicy, glibc, musl } from "./policy.ts";
export type { LateRequest } from "./process.ts";
export { type ResolveOptions, resolveClosure } from "./resolve.ts";
export { type MissingSymbol, checkSymbols } from "./symbols.ts";
export { type MissingVersion, checkVersions, wordMissingVersion } from "./versions.ts";
