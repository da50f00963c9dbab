import type { Command } from "commander";
import { FlixwrapError } from "../core/errors.ts";
import type { Finding } from "../extension/check/finding.ts";
import { newCommand } from "./option-row.ts";
import { compareOptions, infoOptions, quietOption, sarifOption, tryOptions, verifyOptions } from "./options.ts";
import type { Session } from "./program.ts";

const checkExamples = `
Examples:
  $ flixwrap check b3sum.raw
  $ flixwrap check --host-profile flatcar --sarif b3sum.raw nginx.raw
`;

/** `flixwrap check FILE…` */
export function checkCommand(session: Session): Command {
  return newCommand("check", [...verifyOptions, sarifOption], session.env)
    .description(
      "Check extensions against what hosts refuse and what breaks hosts; several are also checked for collisions.",
    )
    .argument("<file...>", "images or folders")
    .addHelpText("after", checkExamples)
    .action(async (files: string[], options: CheckFlags) => {
      const { checkFiles } = await import("../image/check.ts");
      const context = session.context({ json: options.json === true, quiet: false });
      const { reports, unread } = await checkFiles(
        files,
        { hosts: options.hostProfile, host: options.host, skip: listOf(options.check) },
        context,
      );
      const { countFindings, wordFinding } = await import("../extension/check/check.ts");
      const { formatSarif } = await import("../extension/check/sarif.ts");
      const { readVersion } = await import("../host/version.ts");
      if (options.sarif) session.terminal.out(formatSarif(reports, readVersion()));
      for (const { files: several, findings } of options.sarif ? [] : reports) {
        const file = several.join(" + ");
        if (options.json)
          session.terminal.out(
            `${JSON.stringify({ file, findings: findings.map((one) => ({ ...one, message: wordFinding(one, false) })) })}\n`,
          );
        else session.terminal.out(wordFindings(file, findings, wordFinding));
      }
      const errors = reports.reduce((sum, { findings }) => sum + countFindings(findings).error, 0);
      if (unread !== undefined) throw unread;
      if (errors > 0) session.finish(1);
    });
}

interface CheckFlags {
  readonly hostProfile?: readonly string[];
  readonly host?: string;
  readonly check?: unknown;
  readonly sarif?: boolean;
  readonly json?: boolean;
}

const listOf = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) ? (value as string[]) : undefined;

function wordFindings(file: string, findings: readonly Finding[], word: (finding: Finding) => string): string {
  if (findings.length === 0) return `${file}: nothing found\n`;
  return findings.map((finding) => `${file}: ${finding.severity}: ${word(finding)} [${finding.rule}]\n`).join("");
}

/** `flixwrap info FILE` */
export function infoCommand(session: Session): Command {
  return newCommand("info", infoOptions, session.env)
    .description(
      "Tell what an extension is: its metadata, where it came from, how to make it again, what works from which systemd.",
    )
    .argument("<file>", "an image or a folder")
    .action(async (file: string, options: { readonly json?: boolean; readonly files?: boolean }) => {
      if (options.files) return printFiles(session, file, options.json === true);
      const { describeExtension, wordDescription } = await import("../image/info.ts");
      const description = await describeExtension(file, session.context({ json: options.json === true, quiet: false }));
      session.terminal.out(options.json ? `${JSON.stringify(description)}\n` : wordDescription(description));
    });
}

async function printFiles(session: Session, file: string, json: boolean): Promise<void> {
  const { openExtension } = await import("../image/open.ts");
  const { listFiles, wordFiles } = await import("../image/listing.ts");
  const opened = await openExtension(file, session.context({ json, quiet: false }));
  try {
    const files = listFiles(opened.rootfs);
    session.terminal.out(json ? `${JSON.stringify(files)}\n` : wordFiles(files));
  } finally {
    opened.close();
  }
}

/** `flixwrap compare FIRST SECOND` */
export function compareCommand(session: Session): Command {
  return newCommand("compare", compareOptions, session.env)
    .description(
      "Compare two extensions path by path (type, mode, owner, target, attributes, content), of any format; exit status 1 when they differ.",
    )
    .argument("<first>", "an image or a folder")
    .argument("<second>", "another one")
    .action(async (first: string, second: string, options: { readonly json?: boolean }) => {
      const { openExtension } = await import("../image/open.ts");
      const { compareExtensions, wordDifference } = await import("../image/compare.ts");
      const context = session.context({ json: options.json === true, quiet: false });
      const one = await openExtension(first, context);
      const other = await openExtension(second, context).catch((error: unknown) => {
        one.close();
        throw error;
      });
      try {
        const differences = [...compareExtensions(one.rootfs, other.rootfs)];
        if (options.json) session.terminal.out(`${JSON.stringify(differences)}\n`);
        else for (const difference of differences) session.terminal.out(`${wordDifference(difference)}\n`);
        if (differences.length > 0) session.finish(1);
      } finally {
        for (const opened of [one, other]) opened.close();
      }
    });
}

/** `flixwrap unpack FILE [FOLDER]` */
export function unpackCommand(session: Session): Command {
  return newCommand("unpack", [quietOption], session.env)
    .description("Write an extension's files into a folder, without a mount and without root.")
    .argument("<file>", "an image or a folder")
    .argument("[folder]", "what to make (default: the extension's name)")
    .action(async (file: string, folder: string | undefined, options: { readonly quiet?: boolean }) => {
      const { unpackExtension } = await import("../image/unpack.ts");
      const context = session.context({ json: false, quiet: options.quiet === true });
      const { path } = await unpackExtension(file, folder, context);
      session.terminal.out(`${path}\n`);
    });
}

const tryExamples = `
Examples:
  $ flixwrap try b3sum.raw -- b3sum --version
  $ flixwrap try --host /srv/flatcar-root nginx.raw -- nginx -v
`;

/** `flixwrap try FILE… -- CMD…` */
export function tryCommand(session: Session): Command {
  return newCommand("try", tryOptions, session.env)
    .description(
      "Really merge extensions in a mount namespace of their own, run a command there, and leave nothing behind.",
    )
    .argument("<words...>", "images or folders, then -- and the command")
    .addHelpText("after", tryExamples)
    .action(async (words: string[], options: { readonly host?: string; readonly method?: "sysext" | "overlay" }) => {
      // commander drops the first `--`; the words before it are those that it has not passed yet.
      const at = session.argv.indexOf("--");
      const count = at < 0 ? words.length : session.argv.length - at - 1;
      const [extensions, run] = [words.slice(0, -count), words.slice(-count)];
      if (at < 0 || extensions.length === 0 || run.length === 0) {
        throw new FlixwrapError("usage", {
          what: "try needs extensions and a command",
          wanted: "flixwrap try FILE… -- COMMAND…",
        });
      }
      const { tryExtensions } = await import("../image/try.ts");
      const result = await tryExtensions(
        { ...options, extensions, command: run, terminal: true },
        session.context({ json: false, quiet: false }),
      );
      session.finish(result.status);
    });
}
