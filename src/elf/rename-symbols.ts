import type { Draft } from "./draft.ts";

/** Renames dynamic symbols. */
export function renameSymbols(_draft: Draft, names: ReadonlyMap<string, string> | undefined): string[] {
  if (names === undefined || names.size === 0) return [];
  return [];
}
