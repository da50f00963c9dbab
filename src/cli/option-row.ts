import { Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../core/context.ts";

/**
 * One row per option. The parser, `--help` and the tables in docs/ are all made from these rows, so they
 * cannot drift apart. `env` names the variable that gives the default (the shell tools' spellings included).
 */
export interface OptionRow {
  readonly flags: string;
  readonly help: string;
  /** The first variable that is set and not empty counts. */
  readonly env?: string | readonly string[];
  readonly default?: string;
  readonly choices?: readonly string[];
  /** May be given several times; the value is a list. */
  readonly repeatable?: true;
  /** The variable of a repeatable option holds one value, spaces and all. */
  readonly isOneWord?: true;
  /** The heading of `--help` under which it stands (default: "Options:"). */
  readonly group?: string;
  /** Text to value; throws commander's InvalidArgumentError. */
  readonly parse?: (text: string) => unknown;
  /** The value's name, where the flag does not give it. */
  readonly as?: string;
  /** Values that it cannot stand beside, by their names. */
  readonly conflicts?: readonly string[];
  /** Another spelling of an option; --help does not show it. */
  readonly hidden?: true;
}

/** A command with the options of these rows. */
export function newCommand(name: string, rows: readonly OptionRow[], env: Context["env"]): Command {
  const command = new Command(name);
  for (const row of rows) command.addOption(toOption(row, env));
  return command;
}

/** A row as commander's option; a variable gives its default, one of a list holds words separated by spaces. */
function toOption(row: OptionRow, env: Context["env"]): Option {
  const option = new Option(row.flags, row.help);
  if (row.group !== undefined) option.helpGroup(row.group);
  if (row.as !== undefined) {
    const name = row.as;
    option.attributeName = () => name;
  }
  if (row.hidden) option.hideHelp();
  if (row.conflicts !== undefined) option.conflicts([...row.conflicts]);
  if (row.choices !== undefined) option.choices([...row.choices]);
  else if (option.required) option.argParser((text: string) => (row.parse ?? String)(someValue(text)));
  if (row.default !== undefined)
    option.default(row.parse === undefined ? row.default : row.parse(row.default), row.default);
  // An empty variable is none: the shell tools wrote ${OS:-_any}.
  const names = (typeof row.env === "string" ? [row.env] : (row.env ?? [])).filter((name) => env[name] !== "");
  const variable = names.find((name) => env[name] !== undefined) ?? names[0];
  if (row.repeatable !== true) return variable === undefined ? option : option.env(variable);

  const set = env[variable ?? ""] ?? "";
  const words = (row.isOneWord ? [set] : set.split(/\s+/)).filter((word) => word !== "");
  if (words.length > 0) option.default(words, `from ${variable}`);
  // The first one on the command line replaces the default, the others join it.
  return option.argParser((text: string, sofar: unknown) =>
    Array.isArray(sofar) && sofar !== words ? [...(sofar as string[]), someValue(text)] : [someValue(text)],
  );
}

/** `--output "$UNSET"`: no option means anything with nothing. */
function someValue(text: string): string {
  if (text === "") throw new InvalidArgumentError("wanted a value, got nothing.");
  return text;
}
