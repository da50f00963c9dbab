import { Command, CommanderError } from "commander";
import type { Context } from "../core/context.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { bakeCommand } from "./bake.ts";
import { flatwrapCommand, flixCommand, packCommand, torcxCommand } from "./converters.ts";
import { elfCommand } from "./elf/command.ts";
import { explainCommand } from "./explain.ts";
import { checkCommand, compareCommand, infoCommand, tryCommand, unpackCommand } from "./extensions.ts";
import { cacheCommand, pullCommand } from "./images.ts";
import { indexCommand, listCommand, recipeCommand, versionsCommand } from "./recipes.ts";
import { reportError, type ReportStyle, reportTo, type Terminal } from "./report.ts";
import { readVersion } from "../host/version.ts";

/** What `main` hands over: the world outside. */
export interface World {
  readonly terminal: Terminal;
  readonly env: Context["env"];
  readonly signal: AbortSignal;
  /** Standard input; read only by what needs it. */
  readonly stdin: { readonly isTerminal: () => boolean; readonly read: () => AsyncIterable<Uint8Array> };
  /** Throws when the folder was removed. */
  readonly currentFolder: () => string;
}

/** What a command gets to work with. */
export interface Session extends World {
  /** A context whose events go to the terminal in this style; errors are reported in it from here on. */
  context(style: ReportStyle): Context;
  /** The whole command line. */
  readonly argv: readonly string[];
  /** The exit status of a command that did its work and still has bad news. */
  finish(status: number): void;
}

/** Runs one command line (without `node` and the script) and gives the exit status. Never throws. */
export async function runProgram(argv: readonly string[], world: World): Promise<number> {
  // Before a command says how it talks: what is wrong with the command line itself.
  const own = argv.includes("--") ? argv.slice(0, argv.indexOf("--")) : argv;
  let style: ReportStyle = { json: own.includes("--json"), quiet: false };
  let status = 0;
  const session: Session = {
    ...world,
    argv,
    finish: (wanted) => {
      status = wanted;
    },
    context: (wanted) => {
      style = wanted;
      const { signal, env, terminal } = world;
      return { signal, env, emit: reportTo(terminal, wanted), stdin: () => readInput(world) };
    },
  };
  const program = buildProgram(session);
  const name = commandName(argv, program);
  try {
    checkCurrentFolder(world);
    // `flix explain` is a command of its own; an image of that name is `dir:explain`, `explain:latest` and so on.
    const words = argv[0] === "flix" && argv[1] === "explain" ? argv.slice(1) : argv;
    await program.parseAsync(words, { from: "user" });
    return status;
  } catch (error) {
    // Help was printed: it was asked for, or there was no command.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (error instanceof CommanderError && error.code === "commander.help") return 2;
    const told = error instanceof CommanderError ? wrongUse(error) : error;
    return reportError(world.terminal, style, name, world.signal.aborted ? interrupted(told) : told);
  }
}

/** The commands under the headings that `--help` shows. */
const commands: Readonly<Record<string, readonly ((session: Session) => Command)[]>> = {
  "Make extensions:": [flixCommand, flatwrapCommand, torcxCommand, packCommand, bakeCommand],
  "Look before and after:": [explainCommand, checkCommand, infoCommand, compareCommand, unpackCommand, tryCommand],
  "Recipes and servers:": [listCommand, versionsCommand, recipeCommand, indexCommand],
  "Images:": [pullCommand, cacheCommand],
  "ELF files:": [elfCommand, patchelfCommand],
};

/** Taken by `main` before commander is loaded; here for `--help`. */
function patchelfCommand(): Command {
  return new Command("patchelf").description("patchelf's own options, messages and exit status over the same engine.");
}

function buildProgram(session: Session): Command {
  const { out, err } = session.terminal;
  const program = new Command("flixwrap")
    .description("Turn programs of any image into system extensions that run on any host.")
    .version(readVersion(), "-V, --version", "print the version")
    .configureOutput({ writeOut: out, writeErr: err, outputError: () => undefined })
    .exitOverride();
  for (const [heading, makers] of Object.entries(commands)) {
    for (const make of makers) program.addCommand(make(session).helpGroup(heading));
  }
  inherit(program);
  return program;
}

/** Sub-commands answer wrong use as the program does. */
function inherit(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    inherit(command);
  }
}

/** Commander's words as one line: `error: unknown option '--jsn'`, and below it `(Did you mean --json?)`. */
function wrongUse(error: CommanderError): FlixwrapError {
  const [what = "", suggestion] = error.message
    .replace(/^error: /, "")
    .replace(/\.$/, "")
    .split("\n");
  const hint = suggestion?.replaceAll(/[()]/g, "").replace("Did", "did") ?? "--help lists what is possible";
  return new FlixwrapError("usage", { what, hint }, { cause: error });
}

function readInput({ stdin }: World): AsyncIterable<Uint8Array> {
  if (!stdin.isTerminal()) return stdin.read();
  const hint = "give it an archive: docker export CONTAINER | flix - NAME PATH";
  throw new FlixwrapError("usage", { what: "standard input is a terminal", hint });
}

/** Relative paths mean nothing there, and no program can be started. */
function checkCurrentFolder({ currentFolder }: World): void {
  try {
    currentFolder();
  } catch (cause) {
    throw new FlixwrapError(
      "host-current-folder",
      { what: "the current folder does not exist any more", hint: "change to another one" },
      { cause },
    );
  }
}

function commandName(argv: readonly string[], program: Command): string {
  const word = argv.find((one) => !one.startsWith("-"));
  return program.commands.some((command) => command.name() === word) ? word! : program.name();
}
