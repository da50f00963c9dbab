import { type UnitFile, editSettings, settingsOf } from "./unit-file.ts";
import { splitWords } from "./words.ts";

/** Settings whose value is a command line (systemd.service(5), systemd.socket(5), systemd.mount(5)). */
const commandKeys = new Set([
  "ExecCondition",
  "ExecStartPre",
  "ExecStart",
  "ExecStartPost",
  "ExecReload",
  "ExecStop",
  "ExecStopPre",
  "ExecStopPost",
]);

/** Prefixes of the program (systemd.service(5), "Command lines"); `-` means a failure is fine. */
const prefix = /^[@\-:+!|]*/;

/** One command line of a unit. */
export interface UnitCommand {
  readonly key: string;
  /** As written, without prefixes: an absolute path, or a name that systemd looks up. */
  readonly program: string;
  /** Whether a failure of the program is ignored. */
  readonly mayFail: boolean;
}

/** Every program that a unit runs; several commands of one line are separated by `;`. */
export function commandsOf(unit: UnitFile): readonly UnitCommand[] {
  const commands: UnitCommand[] = [];
  for (const section of ["Service", "Socket", "Mount", "Swap"])
    for (const { key, value } of settingsOf(unit, section)) {
      if (!commandKeys.has(key)) continue;
      const words = splitWords(value) ?? [];
      words.forEach((word, at) => {
        if ((at > 0 && words[at - 1] !== ";") || word === ";") return;
        const marks = prefix.exec(word)![0];
        if (word.length > marks.length)
          commands.push({ key, program: word.slice(marks.length), mayFail: marks.includes("-") });
      });
    }
  return commands;
}

/**
 * The unit with the programs of its command lines at their new places; `moves` maps an old path to a new one.
 * Only the program's path changes, arguments stay as written.
 */
export function moveCommands(unit: UnitFile, moves: ReadonlyMap<string, string>): UnitFile {
  return editSettings(unit, ({ key, value }) => {
    if (!commandKeys.has(key)) return value;
    // At the line's begin and after a lone `;`: white space, prefixes, then the path.
    return value.replace(
      /(^|\s;\s)(\s*["']?[@\-:+!|]*)(\/[^\s"';]+)/g,
      (whole, before: string, marks: string, path: string) => {
        const moved = moves.get(path);
        return moved === undefined ? whole : `${before}${marks}${moved}`;
      },
    );
  });
}
