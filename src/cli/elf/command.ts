import { Command, InvalidArgumentError, Option } from "commander";
import { defined } from "../../core/defined.ts";
import { FlixwrapError, printable } from "../../core/errors.ts";
import { DF, DF_1, planEdits, type ElfEdits } from "../../elf/index.ts";
import { parseOsAbi } from "../patchelf/abi.ts";
import type { Session } from "../program.ts";
import { editFiles, readFiles } from "./edit-files.ts";
import { describeElf, wordFacts } from "./facts.ts";

/** `flixwrap elf info|needed|edit FILE…` */
export function elfCommand(session: Session): Command {
  return new Command("elf")
    .description("Show and edit ELF files of any machine.")
    .addCommand(infoCommand(session))
    .addCommand(neededCommand(session))
    .addCommand(editCommand(session));
}

function infoCommand(session: Session): Command {
  return new Command("info")
    .description("Show what loader, debuggers and packagers read of ELF files.")
    .argument("<file...>")
    .option("--json", "print one JSON array")
    .action((paths: string[], options: { json?: true }) => {
      const facts = readInStyle(session, options, () => readFiles(paths, describeElf));
      const text = options.json
        ? JSON.stringify(facts, undefined, 2)
        : facts.map(wordFacts).map(printableLines).join("\n\n");
      session.terminal.out(`${text}\n`);
    });
}

function neededCommand(session: Session): Command {
  return new Command("needed")
    .description("List the libraries that ELF files ask for.")
    .argument("<file...>")
    .option("--json", "print one JSON array")
    .action((paths: string[], options: { json?: true }) => {
      const files = readInStyle(session, options, () =>
        readFiles(paths, ({ name, interpreter, needed }) => ({ file: name, interpreter, needed })),
      );
      const lines = files.flatMap(({ file, needed }) =>
        needed.map((name) => (files.length > 1 ? `${file}: ${name}` : name)),
      );
      session.terminal.out(
        options.json
          ? `${JSON.stringify(files, undefined, 2)}\n`
          : lines.map((line) => `${printable(line)}\n`).join(""),
      );
    });
}

/** Errors are told in the style asked for: the context carries it to the report. */
function readInStyle<T>(session: Session, options: { json?: true }, read: () => T): T {
  session.context({ json: options.json === true, quiet: false });
  return read();
}

interface EditOptions {
  readonly interpreter?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  readonly removeRunpath?: true;
  readonly defaultLib: boolean;
  readonly addNeeded?: readonly string[];
  readonly removeNeeded?: readonly string[];
  readonly replaceNeeded?: readonly [string, string][];
  readonly soname?: string;
  readonly removeSoname?: true;
  readonly setFlag?: readonly string[];
  readonly clearFlag?: readonly string[];
  readonly debugTag?: true;
  readonly clearSymbolVersion?: readonly string[];
  readonly renameSymbol?: readonly [string, string][];
  readonly executableStack?: boolean;
  readonly osAbi?: number;
  readonly movePayload?: true;
  readonly output?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

const list = (text: string, before: readonly string[] = []): string[] => [...before, text];

const pairs = (text: string, before: readonly [string, string][] = []): [string, string][] => {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError("wanted OLD=NEW.");
  return [...before, [text.slice(0, at), text.slice(at + 1)]];
};

const flag = (text: string, before: readonly string[] = []): string[] => {
  const name = text.toUpperCase();
  if (!(name in DF) && !(name in DF_1)) {
    throw new InvalidArgumentError(
      `wanted one of ${[...new Set([...Object.keys(DF), ...Object.keys(DF_1)])].join(" ")}.`,
    );
  }
  return [...before, name];
};

const osAbi = (text: string): number => {
  const value = /^\d{1,3}$/.test(text) && Number(text) < 256 ? Number(text) : parseOsAbi(text);
  if (value === undefined) throw new InvalidArgumentError("wanted a number or a name such as Linux or FreeBSD.");
  return value;
};

function editCommand(session: Session): Command {
  return new Command("edit")
    .description("Change ELF files. All edits are laid out once; when one file cannot be edited, none is changed.")
    .argument("<file...>")
    .option("--interpreter <path>", "the loader of a program")
    .addOption(new Option("--runpath <folders>", "the run path, as DT_RUNPATH").conflicts(["rpath", "removeRunpath"]))
    .addOption(
      new Option("--rpath <folders>", "the run path, as DT_RPATH, which libraries inherit").conflicts("removeRunpath"),
    )
    .option("--remove-runpath", "no run path of either kind")
    .option("--no-default-lib", "no search in the loader's own folders (DF_1_NODEFLIB)")
    .option("--add-needed <name>", "another needed library, before the others (repeatable)", list)
    .option("--remove-needed <name>", "a needed library no longer, nor its symbol versions (repeatable)", list)
    .option("--replace-needed <old=new>", "another name for a needed library (repeatable)", pairs)
    .addOption(new Option("--soname <name>", "the name of a library").conflicts("removeSoname"))
    .option("--remove-soname", "no name")
    .option(
      "--set-flag <name>",
      "a bit of DT_FLAGS or DT_FLAGS_1 by its name: now, origin, nodelete … (repeatable)",
      flag,
    )
    .option("--clear-flag <name>", "the same bit off (repeatable)", flag)
    .option("--debug-tag", "DT_DEBUG, by which debuggers find the libraries")
    .option("--clear-symbol-version <name>", "bind a symbol whatever its version (repeatable)", list)
    .option("--rename-symbol <old=new>", "another name for a dynamic symbol (repeatable)", pairs)
    .option("--executable-stack", "ask for an executable stack")
    .option("--no-executable-stack", "ask for a stack that is not executable")
    .option("--os-abi <abi>", "the OS ABI of the ELF header", osAbi)
    .option("--move-payload", "grow a file that carries a payload; it moves along to the end")
    .option("-o, --output <file>", "write the result there instead of over the one file")
    .option("--dry-run", "tell what would change and how room is made")
    .option("--json", "print one JSON array")
    .action(async (paths: string[], options: EditOptions) => {
      session.context({ json: options.json === true, quiet: false });
      if (options.output !== undefined && paths.length !== 1) {
        throw new FlixwrapError("usage", {
          what: "--output takes the result of one file",
          got: `${paths.length} files`,
        });
      }
      const edits = toEdits(options);
      const done: { file: string; growth: string; added: number; changes: readonly string[] }[] = [];
      await editFiles(paths, (elf) => planEdits(elf, edits, { payload: options.movePayload ? "move" : "refuse" }), {
        ...defined({ output: options.output }),
        ...(options.dryRun ? { dryRun: true } : {}),
        onPlan: (file, { growth, size, changes }, elf) =>
          void done.push({ file, growth, added: size - elf.source.size, changes }),
      });
      session.terminal.out(options.json ? `${JSON.stringify(done, undefined, 2)}\n` : done.map(wordEdit).join(""));
    });
}

const wordEdit = ({
  file,
  growth,
  added,
  changes,
}: {
  file: string;
  growth: string;
  added: number;
  changes: readonly string[];
}): string =>
  changes.length === 0
    ? `${printable(file)}: nothing to change\n`
    : [
        `${printable(file)} (${growth}, ${added < 0 ? "" : "+"}${added} bytes)`,
        ...changes.map((change) => `  ${printable(change)}`),
        "",
      ].join("\n");

const printableLines = (text: string): string => text.split("\n").map(printable).join("\n");

function toEdits(options: EditOptions): ElfEdits {
  const bitsOf = (names: readonly string[] | undefined, table: Readonly<Record<string, number>>) =>
    (names ?? []).reduce((bits, name) => bits | (table[name] ?? 0), 0);
  // ORIGIN and NOW stand in both words; DT_FLAGS has it when it knows the name.
  const second = Object.fromEntries(Object.entries(DF_1).filter(([name]) => !(name in DF)));
  const { interpreter, debugTag, executableStack, soname, rpath, runpath } = options;
  return {
    ...defined({ interpreter, debugTag, executableStack, soname, osAbi: options.osAbi }),
    ...(rpath === undefined ? {} : { runPath: { kind: "rpath", value: rpath } }),
    ...(runpath === undefined ? {} : { runPath: { kind: "runpath", value: runpath } }),
    ...(options.removeRunpath ? { runPath: null } : {}),
    ...(options.removeSoname ? { soname: null } : {}),
    ...(options.defaultLib ? {} : { noDefaultLib: true }),
    flags: { set: bitsOf(options.setFlag, DF), clear: bitsOf(options.clearFlag, DF) },
    flags1: { set: bitsOf(options.setFlag, second), clear: bitsOf(options.clearFlag, second) },
    needed: {
      add: options.addNeeded ?? [],
      remove: options.removeNeeded ?? [],
      replace: new Map(options.replaceNeeded),
    },
    clearSymbolVersions: options.clearSymbolVersion ?? [],
    renameSymbols: new Map(options.renameSymbol),
  };
}
