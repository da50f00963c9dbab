/** patchelf's options as one table: spelling, number of values, and what each means for the request. */

export interface PatchelfRequest {
  files: string[];
  print: Set<Printed>;
  interpreter?: string;
  osAbi?: string;
  soname?: string;
  runPath?: { kind: "set" | "add"; value: string } | { kind: "remove" } | { kind: "shrink" };
  allowedPrefixes: string[];
  forceRpath: boolean;
  addNeeded: Set<string>;
  removeNeeded: Set<string>;
  replaceNeeded: Map<string, string>;
  clearVersions: Set<string>;
  executableStack?: boolean;
  noDefaultLib: boolean;
  debugTag: boolean;
  renameMap?: string;
  pageSize?: number;
  keepOldSections: boolean;
  output?: string;
  debug: boolean;
  /** Shown instead of any work. */
  answer?: "help" | "version";
}

/** What the `--print-…` options ask for. */
export type Printed = "interpreter" | "os-abi" | "soname" | "rpath" | "execstack" | "needed";

interface OptionRow {
  readonly names: readonly string[];
  /** Names of its values, for the help. */
  readonly values: readonly string[];
  readonly help: string;
  /** `resolve` reads the file that an `@file` value names. */
  apply(request: PatchelfRequest, values: readonly string[], resolve: (value: string) => string): void;
}

const printing = (name: Printed, help: string): OptionRow => ({
  names: [`--print-${name}`],
  values: [],
  help,
  apply: (request) => void request.print.add(name),
});

/** patchelf's options in the order of its help. */
export const optionRows: readonly OptionRow[] = [
  {
    names: ["--set-interpreter", "--interpreter"],
    values: ["FILENAME"],
    help: "the loader of a program",
    apply: (request, [value], resolve) => void (request.interpreter = resolve(value!)),
  },
  {
    names: ["--page-size"],
    values: ["SIZE"],
    help: "the smallest alignment of a segment that has to be added",
    apply(request, [value]) {
      request.pageSize = Number.parseInt(value!, 10);
      if (!(request.pageSize > 0)) throw new OptionProblem("invalid argument to --page-size");
    },
  },
  printing("interpreter", "prints the loader"),
  printing("os-abi", "prints the OS ABI of the ELF header"),
  {
    names: ["--set-os-abi"],
    values: ["ABI"],
    help: "the OS ABI: System V, Linux, FreeBSD ...",
    apply: (request, [value], resolve) => void (request.osAbi = resolve(value!)),
  },
  printing("soname", "prints DT_SONAME"),
  {
    names: ["--set-soname"],
    values: ["SONAME"],
    help: "the name of a library",
    apply: (request, [value], resolve) => void (request.soname = resolve(value!)),
  },
  {
    names: ["--set-rpath"],
    values: ["RPATH"],
    help: "the run path, as DT_RUNPATH",
    apply: (request, [value], resolve) => setRunPath(request, "set", resolve(value!)),
  },
  {
    names: ["--add-rpath"],
    values: ["RPATH"],
    help: "folders behind those of the run path",
    apply: (request, [value], resolve) => setRunPath(request, "add", resolve(value!)),
  },
  {
    names: ["--remove-rpath"],
    values: [],
    help: "no run path",
    apply: (request) => chooseRunPath(request, "remove"),
  },
  {
    names: ["--shrink-rpath"],
    values: [],
    help: "no folders in the run path that hold none of the needed libraries",
    apply: (request) => chooseRunPath(request, "shrink"),
  },
  {
    names: ["--allowed-rpath-prefixes"],
    values: ["PREFIXES"],
    help: "with --shrink-rpath: no folders elsewhere",
    apply: (request, [value]) => void (request.allowedPrefixes = splitColons(value!)),
  },
  printing("rpath", "prints the run path"),
  {
    names: ["--force-rpath"],
    values: [],
    help: "the run path as DT_RPATH, which libraries inherit",
    apply: (request) => void (request.forceRpath = true),
  },
  {
    names: ["--add-needed"],
    values: ["LIBRARY"],
    help: "another needed library, before the others",
    apply: (request, [value], resolve) => void request.addNeeded.add(resolve(value!)),
  },
  {
    names: ["--remove-needed"],
    values: ["LIBRARY"],
    help: "a needed library no longer, nor its symbol versions",
    apply: (request, [value], resolve) => void request.removeNeeded.add(resolve(value!)),
  },
  {
    names: ["--replace-needed"],
    values: ["LIBRARY", "NEW_LIBRARY"],
    help: "another name for a needed library",
    apply: (request, [from, to]) => void request.replaceNeeded.set(from!, to!),
  },
  printing("needed", "prints the needed libraries"),
  {
    names: ["--no-default-lib"],
    values: [],
    help: "DF_1_NODEFLIB: no search in the loader's own folders",
    apply: (request) => void (request.noDefaultLib = true),
  },
  { names: ["--no-sort"], values: [], help: "accepted: headers are never sorted", apply: () => undefined },
  {
    names: ["--clear-symbol-version"],
    values: ["SYMBOL"],
    help: "binds a symbol whatever its version",
    apply: (request, [value], resolve) => void request.clearVersions.add(resolve(value!)),
  },
  {
    names: ["--add-debug-tag"],
    values: [],
    help: "DT_DEBUG, by which debuggers find the libraries",
    apply: (request) => void (request.debugTag = true),
  },
  printing("execstack", "prints whether an executable stack is asked for"),
  {
    names: ["--clear-execstack"],
    values: [],
    help: "asks for a stack that is not executable",
    apply: (request) => void (request.executableStack = false),
  },
  {
    names: ["--set-execstack"],
    values: [],
    help: "asks for an executable stack",
    // patchelf: clearing wins, whatever the order.
    apply: (request) => void (request.executableStack ??= true),
  },
  {
    names: ["--rename-dynamic-symbols"],
    values: ["NAME_MAP_FILE"],
    help: "renames dynamic symbols; a line has the old name and the new one",
    apply: (request, [value]) => void (request.renameMap = value!),
  },
  {
    names: ["--no-clobber-old-sections"],
    values: [],
    help: "leaves the bytes of what moves where they were",
    apply: (request) => void (request.keepOldSections = true),
  },
  {
    names: ["--build-resolution-cache"],
    values: [],
    help: "refused: only the loader of NixOS knows this note",
    apply() {
      throw new OptionProblem("--build-resolution-cache is not supported: only the loader of NixOS reads this cache");
    },
  },
  {
    names: ["--output"],
    values: ["FILE"],
    help: "writes the result there instead of over the one FILENAME",
    apply: (request, [value], resolve) => void (request.output = resolve(value!)),
  },
  {
    names: ["--debug"],
    values: [],
    help: "tells what is done",
    apply: (request) => void (request.debug = true),
  },
  {
    names: ["--help", "-h"],
    values: [],
    help: "prints this",
    apply: (request) => void (request.answer ??= "help"),
  },
  {
    names: ["--version"],
    values: [],
    help: "prints the version of patchelf whose options these are",
    apply: (request) => void (request.answer ??= "version"),
  },
];

/** What is wrong with a command line, in patchelf's words. */
export class OptionProblem extends Error {}

/** Everything that is no option is a file, as for patchelf: there is no `--`, and `--unknown` is looked for on disk. */
export function parsePatchelf(argv: readonly string[], resolve: (value: string) => string): PatchelfRequest {
  const request: PatchelfRequest = {
    files: [],
    print: new Set(),
    allowedPrefixes: [],
    forceRpath: false,
    addNeeded: new Set(),
    removeNeeded: new Set(),
    replaceNeeded: new Map(),
    clearVersions: new Set(),
    noDefaultLib: false,
    debugTag: false,
    keepOldSections: false,
    debug: false,
  };
  for (let at = 0; at < argv.length && request.answer === undefined; at++) {
    const word = argv[at]!;
    const row = optionRows.find(({ names }) => names.includes(word));
    if (row === undefined) {
      request.files.push(word);
      continue;
    }
    const values = argv.slice(at + 1, at + 1 + row.values.length);
    if (values.length < row.values.length) {
      throw new OptionProblem(row.values.length === 1 ? "missing argument" : "missing argument(s)");
    }
    row.apply(request, values, resolve);
    at += values.length;
  }
  if (request.answer !== undefined) return request;
  if (request.files.length === 0) throw new OptionProblem("missing filename");
  if (request.output !== undefined && request.files.length !== 1) {
    throw new OptionProblem("--output option only allowed with single input file");
  }
  return request;
}

function setRunPath(request: PatchelfRequest, kind: "set" | "add", value: string): void {
  const { runPath } = request;
  if (runPath !== undefined && runPath.kind !== kind && "value" in runPath) {
    throw new OptionProblem("--set-rpath option not allowed with --add-rpath");
  }
  if (runPath === undefined || "value" in runPath) request.runPath = { kind, value };
}

/** Of several, patchelf does the first of: shrink, remove, set or add. */
function chooseRunPath(request: PatchelfRequest, kind: "remove" | "shrink"): void {
  if (request.runPath?.kind !== "shrink") request.runPath = { kind };
}

/** `/a:/b`; nothing for an empty text. */
export const splitColons = (text: string): string[] => text.split(":").filter((part) => part !== "");

/** The text of `--help`. */
export function wordHelp(): string {
  const width = 46;
  const lines = optionRows.map(({ names, values, help }) => {
    const left = `  [${[names.join("|"), ...values].join(" ")}]`;
    return left.length < width ? `${left.padEnd(width)}${help}` : `${left}\n${" ".repeat(width)}${help}`;
  });
  return ["syntax: patchelf", ...lines, "  FILENAME...", ""].join("\n");
}
