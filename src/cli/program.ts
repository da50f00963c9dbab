import { Command, CommanderError } from "commander";
import type { Context } from "../core/context.ts";
import { interrupted } from "../core/errors.ts";
import { flatwrapCommand, flixCommand, packCommand, torcxCommand } from "./converters.ts";
import { elfCommand } from "./elf/command.ts";
import { explainCommand } from "./explain.ts";
import { checkCommand, compareCommand, infoCommand, tryCommand, unpackCommand } from "./extensions.ts";
import { cacheCommand, pullCommand } from "./images.ts";
import { bakeCommand, indexCommand, listCommand, recipeCommand, versionsCommand } from "./recipes.ts";
import { reportError, type ReportStyle, reportTo, type Terminal } from "./report.ts";
import { readVersion } from "../host/version.ts";

/** What `main` hands over: the world outside. */
export interface World {
  readonly terminal: Terminal;
  readonly env: Context["env"];
  readonly signal: AbortSignal;
  /** Standard input; asked for only by what reads it. */
  readonly stdin: () => AsyncIterable<Uint8Array>;
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
  let style: ReportStyle = { json: false, quiet: false };
  let status = 0;
  const session: Session = {
    ...world,
    argv,
    finish: (wanted) => {
      status = wanted;
    },
    context: (wanted) => {
      style = wanted;
      return { signal: world.signal, env: world.env, emit: reportTo(world.terminal, wanted) };
    },
  };
  const program = buildProgram(session);
  try {
    // `flix explain` is a command of its own; an image of that name is `dir:explain`, `explain:latest` and so on.
    const words = argv[0] === "flix" && argv[1] === "explain" ? argv.slice(1) : argv;
    await program.parseAsync(words, { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportError(world.terminal, style, commandName(argv), world.signal.aborted ? interrupted(error) : error);
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
    .showHelpAfterError("(--help lists what is possible)")
    .configureOutput({ writeOut: out, writeErr: err })
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

const commandName = (argv: readonly string[]): string => argv.find((word) => !word.startsWith("-")) ?? "flixwrap";
