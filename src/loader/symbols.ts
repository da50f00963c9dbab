import { memorySource } from "../core/bytes.ts";
import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import { readDynamicSymbols } from "../elf/symbols.ts";
import { readDefinedVersions, readNeededVersions } from "../elf/versions.ts";
import type { Closure, Process } from "./closure.ts";
import { readReferences } from "./references.ts";

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
  readonly wanted: readonly { readonly name: string; readonly version?: string; readonly elsewhere: boolean }[];
  /** Name -> the versions it is defined in; `undefined` among them stands for "without version". */
  readonly defined: ReadonlyMap<string, readonly (string | undefined)[]>;
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
  const found = new Map<string, MissingSymbol>();
  for (const process of closure.processes) {
    const scope = [...new Set([...process.objects, process.loader])].map(symbolsOf);
    for (const object of process.objects) {
      const own = symbolsOf(object);
      for (const wanted of own.wanted) {
        const serving = (symbols: Symbols): boolean =>
          (symbols !== own || !wanted.elsewhere) && serves(symbols, wanted, process.family);
        if (scope.some(serving)) continue;
        const missing = { ...wantedOf(wanted), object, main: process.main };
        found.set(`${object}\0${wanted.name}\0${wanted.version ?? ""}`, missing);
      }
    }
  }
  return [...found.values()];
}

const wantedOf = ({ name, version }: Symbols["wanted"][number]): Pick<MissingSymbol, "symbol" | "version"> => ({
  symbol: name,
  ...(version !== undefined && { version }),
});

function serves(symbols: Symbols, wanted: Symbols["wanted"][number], family: Process["family"]): boolean {
  const versions = symbols.defined.get(wanted.name);
  if (versions === undefined) return false;
  if (family === "musl" || !symbols.versioned || wanted.version === undefined) return true;
  return versions.some((version) => version === wanted.version || version === undefined);
}

/** STB_LOCAL is nobody else's; STB_GLOBAL and STB_GNU_UNIQUE must be found, STB_WEAK need not. */
const STB = { LOCAL: 0, WEAK: 2 } as const;

const largestInMemory = 512 * 1024 * 1024;

function readSymbols(file: ElfFile): Symbols {
  // Tables and names lie all over the file: one read instead of thousands.
  const { size } = file.source;
  const elf: ElfFile = size > largestInMemory ? file : { ...file, source: memorySource(file.source.read(0, size)) };
  const definedVersions = readDefinedVersions(elf);
  const names = new Map([
    ...definedVersions.filter(({ base }) => !base).map(({ index, name }) => [index, name] as const),
    ...readNeededVersions(elf).flatMap(({ versions }) => versions.map(({ index, name }) => [index, name] as const)),
  ]);
  const withVersion = (name: string, index: number) => {
    const version = names.get(index);
    return { name, ...(version !== undefined && { version }) };
  };
  const wanted = readReferences(elf)
    .filter(({ name, binding }) => name !== "" && binding !== STB.LOCAL && binding !== STB.WEAK)
    .map(({ name, version, elsewhere }) => ({ ...withVersion(name, version), elsewhere }));
  const defined = new Map<string, (string | undefined)[]>();
  for (const { name, defined: isDefined, binding, version } of readDynamicSymbols(elf)) {
    if (!isDefined || binding === STB.LOCAL) continue;
    const versions = defined.get(name);
    if (versions === undefined) defined.set(name, [names.get(version)]);
    else versions.push(names.get(version));
  }
  return { wanted, defined, versioned: definedVersions.length > 0 };
}
