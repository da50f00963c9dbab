import { readFileSync } from "node:fs";
import { defined } from "../../core/defined.ts";
import { FlixwrapError, printable } from "../../core/errors.ts";
import { decodeName } from "../../core/names.ts";
import {
  ET,
  PF,
  planEdits,
  PT,
  readSections,
  SHT,
  type ElfEdits,
  type ElfFile,
  type ElfPatch,
} from "../../elf/index.ts";
import { isSystemError } from "../../host/system-error.ts";
import { editFiles } from "../elf/edit-files.ts";
import { nameOsAbi, parseOsAbi } from "./abi.ts";
import { OptionProblem, parsePatchelf, wordHelp, type PatchelfRequest } from "./options.ts";
import { parseRenameMap } from "./rename-map.ts";
import { shrinkRunPath } from "./shrink.ts";
import { checkSections } from "./sections.ts";

/** The version of patchelf whose options, messages and exit status these are. */
const compatible = "0.18.0";

/** What {@link runPatchelf} gets of the process: where it prints, and its environment. */
export interface PatchelfWorld {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `patchelf` with patchelf's own options and messages. The exit status: 0, or 1 for any problem. Never throws for a known one. */
export async function runPatchelf(argv: readonly string[], world: PatchelfWorld): Promise<number> {
  if (argv.length === 0) {
    world.err(wordHelp());
    return 1;
  }
  try {
    const request = parsePatchelf(argv, resolveValue);
    if (request.answer === "help") world.err(wordHelp());
    else if (request.answer === "version") world.out(`patchelf ${compatible} (flixwrap)\n`);
    else await patch(request, world);
    return 0;
  } catch (error) {
    if (!(error instanceof FlixwrapError || error instanceof OptionProblem)) throw error;
    world.err(`patchelf: ${wordProblem(error)}\n`);
    return 1;
  }
}

/** patchelf's own words for what scripts may look for; ours follow. */
const familiarWords: Readonly<Record<string, string>> = {
  "elf-no-slot": "setSubstr: write extends past end of section: ",
  "elf-not-elf": "not an ELF executable: ",
};

function wordProblem(error: FlixwrapError | OptionProblem): string {
  if (error instanceof OptionProblem) return printable(error.message);
  return `${familiarWords[error.code] ?? ""}${error.message}`;
}

async function patch(request: PatchelfRequest, world: PatchelfWorld): Promise<void> {
  const debug = request.debug || world.env["PATCHELF_DEBUG"] !== undefined;
  const limits = {
    payload: "move",
    keepOld: request.keepOldSections,
    ...defined({ pageSize: request.pageSize }),
  } as const;
  const plan = (elf: ElfFile): ElfPatch => {
    checkSections(elf, (warning) => world.err(`warning: ${warning}\n`));
    world.out(wordPrints(elf, request));
    return planEdits(elf, toEdits(elf, request), limits);
  };
  await editFiles(request.files, plan, {
    ...defined({ output: request.output }),
    onPlan: (path, planned) => void (debug && world.err(wordPlan(path, planned))),
  });
}

function wordPlan(path: string, { changes, growth, size }: ElfPatch): string {
  const lines = changes.map((change) => `  ${printable(change)}\n`).join("");
  return `patching ELF file '${printable(path)}'\n${lines}  room: ${growth}, ${size} bytes\n`;
}

/**
 * `@file` stands for what the file holds, to the last byte. No string of an ELF file holds a NUL: what follows one patchelf writes
 * where nobody reads it, and we do not.
 */
function resolveValue(value: string): string {
  if (!value.startsWith("@")) return value;
  const path = value.slice(1);
  try {
    const bytes = readFileSync(path);
    const end = bytes.indexOf(0);
    return decodeName(end < 0 ? bytes : bytes.subarray(0, end));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new OptionProblem(
      `getting info about '${path}': ${error.message.replace(/^\w+: /, "").replace(/, .*$/, "")}`,
    );
  }
}

function wordPrints(elf: ElfFile, { print }: PatchelfRequest): string {
  const lines: string[] = [];
  if (print.has("interpreter")) {
    if (elf.interpreter === undefined) throw missing(elf, ".interp");
    lines.push(elf.interpreter);
  }
  if (print.has("os-abi")) lines.push(nameOsAbi(elf.header.ident[7]!));
  if (print.has("soname") && elf.soname) lines.push(elf.soname);
  if (print.has("rpath")) {
    requireDynamic(elf);
    lines.push(elf.runpath ?? elf.rpath ?? "");
  }
  if (print.has("execstack")) lines.push(`execstack: ${wordStack(elf)}`);
  if (print.has("needed")) {
    requireDynamic(elf);
    lines.push(...elf.needed);
  }
  return lines.map((line) => `${line}\n`).join("");
}

function wordStack({ segments }: ElfFile): string {
  const stack = segments.find(({ type }) => type === PT.GNU_STACK);
  if (stack === undefined) return "?";
  return (stack.flags & PF.X) === 0 ? "-" : "X";
}

function toEdits(elf: ElfFile, request: PatchelfRequest): ElfEdits {
  const { interpreter, soname, executableStack } = request;
  if (interpreter !== undefined && interpreter !== "" && elf.interpreter === undefined) throw missing(elf, ".interp");
  const osAbi = request.osAbi === undefined ? undefined : parseOsAbi(request.osAbi);
  if (request.osAbi !== undefined && osAbi === undefined) throw new OptionProblem("unrecognized OS ABI");
  const runPath = toRunPath(elf, request);
  return {
    ...(interpreter === undefined || interpreter === "" ? {} : { interpreter }),
    // patchelf gives only ET_DYN a name.
    ...(soname === undefined || elf.type !== ET.DYN ? {} : { soname }),
    ...defined({ runPath }),
    // patchelf keeps these in sets: sorted, each once.
    needed: {
      add: [...request.addNeeded].sort((a, b) => (a < b ? -1 : 1)),
      remove: [...request.removeNeeded],
      replace: request.replaceNeeded,
    },
    clearSymbolVersions: [...request.clearVersions],
    ...(request.noDefaultLib ? { noDefaultLib: true } : {}),
    ...(request.debugTag ? { debugTag: true } : {}),
    ...defined({ executableStack, osAbi }),
    ...(request.renameMap === undefined ? {} : { renameSymbols: readRenameMap(request.renameMap) }),
  };
}

function toRunPath(elf: ElfFile, request: PatchelfRequest): ElfEdits["runPath"] {
  const wanted = request.runPath;
  if (wanted === undefined || !hasDynamic(elf)) return undefined;
  const old = elf.runpath ?? elf.rpath;
  if (wanted.kind === "remove") return null;
  if (wanted.kind === "shrink" && old === undefined) return undefined;
  const kind = request.forceRpath ? "rpath" : "runpath";
  if (wanted.kind === "shrink") return { kind, value: shrinkRunPath(elf, old!, request.allowedPrefixes) };
  const value = wanted.kind === "set" || !old ? wanted.value : `${old}:${wanted.value}`;
  return { kind, value };
}

/**
 * Whether there is a dynamic table that a loader would see. In debug files it has no bytes and in others only a section tells of
 * it: patchelf edits those without effect, we leave them as they are. A file without any is an error.
 */
function hasDynamic(elf: ElfFile): boolean {
  requireDynamic(elf);
  return elf.isDynamic;
}

function requireDynamic(elf: ElfFile): void {
  if (elf.segments.some(({ type }) => type === PT.DYNAMIC)) return;
  if (!readSections(elf).some(({ type }) => type === SHT.DYNAMIC)) throw missing(elf, ".dynamic");
}

const missing = (elf: ElfFile, section: string): FlixwrapError =>
  new FlixwrapError("elf-missing", {
    what: `cannot find section '${section}'. The input file is most likely statically linked`,
    where: elf.name,
  });

function readRenameMap(path: string): ReadonlyMap<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new OptionProblem(`Cannot open map file ${path}`);
  }
  return parseRenameMap(path, text);
}
