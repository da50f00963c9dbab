import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import { readRelocatedSymbols } from "../elf/relocated-symbols.ts";
import { openSymbolTable, type SymbolTable, type WantedSymbol } from "../elf/symbol-table.ts";
import { readDefinedVersions, readNeededVersions } from "../elf/versions.ts";
import type { Closure, Process } from "./closure.ts";

/** A symbol that an object needs and nothing in its process defines. */
export interface MissingSymbol {
  readonly symbol: string;
  readonly version?: string;
  /** Real path of the object that needs it. */
  readonly object: RootPath;
  /** The program (or library by itself) in whose process it was looked for. */
  readonly main: RootPath;
}

interface Symbols {
  readonly elf: ElfFile;
  readonly table: SymbolTable;
  /** Names of the versions, by their indices. */
  readonly versions: ReadonlyMap<number, string>;
  /** Has DT_VERDEF, so that a version asked for must match. */
  readonly versioned: boolean;
}

/**
 * Finds the symbols that lazy binding would miss at some later moment: undefined, not weak, and defined by no object of
 * the process in a version that serves (glibc elf/dl-lookup.c check_match; musl does not compare versions).
 * A plug-in by itself also uses what its program defines, so its findings are only hints.
 */
export function checkSymbols(closure: Closure): readonly MissingSymbol[] {
  const objects = new Map(closure.objects.map(({ node, elf }) => [node.path, elf]));
  const read = new Map<RootPath, Symbols>();
  const symbolsOf = (path: RootPath): Symbols => {
    let symbols = read.get(path);
    if (symbols === undefined) {
      symbols = readSymbols(objects.get(path)!);
      read.set(path, symbols);
    }
    return symbols;
  };
  // Those that have all an object wants: where they are together again, there is nothing to look up.
  const served = new Map<string, readonly Symbols[]>();
  const found = new Map<string, MissingSymbol>();
  for (const process of closure.processes) {
    const scope = [...new Set([...process.objects, process.loader])].map(symbolsOf);
    const inScope = new Set(scope);
    const bySoname = new Map(scope.toReversed().map((one) => [one.elf.soname, one]));
    for (const object of process.objects) {
      const key = `${process.family} ${object}`;
      if (served.get(key)?.every((provider) => inScope.has(provider)) === true) continue;
      const asker = symbolsOf(object);
      const { missing, providers } = lookUp(asker, scope, bySoname, process.family);
      if (missing.length === 0) served.set(key, providers);
      for (const wanted of missing) {
        const symbol = asker.table.nameOf(wanted);
        const version = asker.versions.get(wanted.version);
        const told = { symbol, ...(version !== undefined && { version }), object, main: process.main };
        found.set(`${object}\0${symbol}\0${version ?? ""}`, told);
      }
    }
  }
  return [...found.values()];
}

/**
 * Which of an object's symbols nobody in scope defines, and who defines the others. Who would be found first does not matter
 * here, so the likely ones are asked first: the object that the symbol's version is needed of, then those that the object
 * needs or that had another of its symbols, then all.
 */
function lookUp(
  asker: Symbols,
  scope: readonly Symbols[],
  bySoname: ReadonlyMap<string | undefined, Symbols>,
  family: Process["family"],
): { readonly missing: readonly WantedSymbol[]; readonly providers: readonly Symbols[] } {
  const providers = new Set<Symbols>();
  const near = new Set(given(asker.elf.needed.map((name) => bySoname.get(name))));
  const usual = new Map<number, Symbols>();
  for (const { file, versions } of readNeededVersions(asker.elf)) {
    const provider = bySoname.get(file);
    if (provider !== undefined) for (const { index } of versions) usual.set(index, provider);
  }
  const missing = asker.table.wanted.filter((wanted) => {
    const serving = (one: Symbols): boolean =>
      (one !== asker || !wanted.elsewhere) && serves(one, asker, wanted, family);
    const last = usual.get(wanted.version);
    const provider = last !== undefined && serving(last) ? last : (first(near, serving) ?? first(scope, serving));
    if (provider === undefined) return true;
    if (provider === last && providers.has(provider)) return false;
    providers.add(provider);
    near.add(provider);
    usual.set(wanted.version, provider);
    return false;
  });
  if (missing.length === 0) return { missing, providers: [...providers] };
  // What no relocation names is never looked up.
  const relocated = readRelocatedSymbols(asker.elf).all;
  return { missing: missing.filter(({ symbol }) => relocated.has(symbol)), providers: [...providers] };
}

function serves(provider: Symbols, asker: Symbols, wanted: WantedSymbol, family: Process["family"]): boolean {
  const found = provider.table.find(asker.table, wanted);
  if (found.length === 0) return false;
  const version = asker.versions.get(wanted.version);
  if (family === "musl" || !provider.versioned || version === undefined) return true;
  return found.some((index) => [version, undefined].includes(provider.versions.get(index)));
}

function readSymbols(elf: ElfFile): Symbols {
  const defined = readDefinedVersions(elf);
  const versions = new Map([
    ...defined.filter(({ base }) => !base).map(({ index, name }) => [index, name] as const),
    ...readNeededVersions(elf).flatMap((needed) => needed.versions.map(({ index, name }) => [index, name] as const)),
  ]);
  return { elf, table: openSymbolTable(elf), versions, versioned: defined.length > 0 };
}

const given = <T>(values: readonly (T | undefined)[]): T[] => values.filter((value) => value !== undefined);

function first<T>(all: Iterable<T>, test: (one: T) => boolean): T | undefined {
  for (const one of all) if (test(one)) return one;
  return undefined;
}
