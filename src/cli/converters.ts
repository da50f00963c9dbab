import { Command } from "commander";
import type { Outcome } from "../convert/convert.ts";
import type { ConvertOptions, Request } from "../convert/request.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { RawFlatwrapOptions } from "../wrap/flatwrap/options.ts";
import {
  architectureOptions,
  checkOptions,
  etcOptions,
  extensionOptions,
  flatwrapOptionRows,
  imageOptions,
  imageRunOptions,
  kernelOptions,
  lateOptions,
  type OptionRow,
  packOptions,
  prefixOptions,
  publishOptions,
  runOptions,
  shellImageOptions,
  shellOptions,
  shipEtcOptions,
  startedOptions,
  stripOptions,
  toOption,
  torcxOptionRows,
  traceOptions,
} from "./options.ts";
import { printOutcome } from "./outcome.ts";
import type { Session } from "./program.ts";

const references = `
IMAGE is a registry reference (alpine:latest, localhost:5000/tools@sha256:…), an OCI layout (oci:FOLDER:TAG), an archive
(oci-archive:FILE, docker-archive:FILE, tar:FILE, - for standard input), a daemon's image (docker-daemon:, podman:) or a folder (dir:./rootfs). PATH is a program, a file or a folder of the
image; SOURCE:TARGET places it elsewhere.
`;

const flixExamples = `${references}
Examples:
  $ flix alpine:latest b3sum /usr/bin/b3sum
  $ flix --smoke 'nginx -v' debian:12 nginx /usr/sbin/nginx /usr/share/nginx --enable nginx.service
  $ flix dir:./rootfs tool /bin/tool:/usr/bin/tool
  $ flix --dry-run oci:./layout:v1 tool /usr/bin/tool
`;

const flatwrapExamples = `${references}
Examples:
  $ flatwrap --etc chroot alpine:latest htop /usr/bin/htop
  $ flatwrap --only-needed debian:12 python /usr/bin/python3
  $ ETCMAP=chroot flatwrap dir:./rootfs htop /usr/bin/htop
`;

const torcxExamples = `
Examples:
  $ flixwrap torcx docker:20.10.torcx.tgz docker
  $ flixwrap torcx --scan /
`;

const packExamples = `
Examples:
  $ flixwrap pack ./tree mytool
  $ flixwrap pack --format erofs --os flatcar --enable mytool.service ./tree mytool
`;

const common = [
  ...extensionOptions,
  ...packOptions,
  ...publishOptions,
  ...checkOptions,
  ...runOptions,
  ...shellOptions,
];

/** `flix IMAGE NAME PATH…` */
export function flixCommand(session: Session): Command {
  return converter(session, "flix", [
    ...imageOptions,
    ...shellImageOptions,
    ...imageRunOptions,
    ...prefixOptions,
    ...lateOptions,
    ...startedOptions,
    ...stripOptions,
    ...kernelOptions,
    ...traceOptions,
    ...etcOptions,
    ...common,
  ])
    .description("Take programs out of an image, with their loader and libraries, into a system extension.")
    .argument("<image>", "where the program is")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .argument("<path...>", "what to take: PATH or SOURCE:TARGET")
    .addHelpText("after", flixExamples)
    .action(async (source: string, name: string, entries: string[], options: Options) => {
      await run(session, {
        converter: "flix",
        source,
        name,
        entries,
        options: { ...options, ...shipped(options.etc) },
      });
    });
}

/** `flatwrap IMAGE NAME PATH…` */
export function flatwrapCommand(session: Session): Command {
  return converter(session, "flatwrap", [
    ...imageOptions,
    ...shellImageOptions,
    ...imageRunOptions,
    ...prefixOptions,
    ...flatwrapOptionRows,
    ...shipEtcOptions,
    ...common,
  ])
    .description("Ship an image's root as a whole; its programs run in their own view of the file system.")
    .argument("<image>", "where the program is")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .argument("<path...>", "entry points, units and data: PATH or SOURCE:TARGET")
    .addHelpText("after", flatwrapExamples)
    .action(async (source: string, name: string, entries: string[], options: Options & RawFlatwrapOptions) => {
      const { etc, var: state, home, host, chroot, hostFiles, bind, exclude, onlyNeeded, unitMode, ...rest } = options;
      const raw = { etc, var: state, home, host, chroot, hostFiles, bind, exclude, onlyNeeded, unitMode };
      const flatwrap = Object.fromEntries(
        Object.entries(raw).filter(([, value]) => value !== undefined),
      ) as RawFlatwrapOptions;
      await run(session, { converter: "flatwrap", source, name, entries, options: { ...rest, flatwrap } });
    });
}

/** `flixwrap torcx TARBALL NAME`, also `torcx-sysext TARBALL NAME` */
export function torcxCommand(session: Session): Command {
  return converter(session, "torcx", [
    ...torcxOptionRows,
    ...imageOptions.slice(-1),
    ...architectureOptions,
    ...prefixOptions,
    ...etcOptions,
    ...common,
  ])
    .description("Turn a Torcx image of an old Flatcar or CoreOS host into a system extension.")
    .argument("[tarball]", "Torcx image: .tgz, .tar, .tar.xz, .tar.zst, .squashfs, or a folder")
    .argument("[name]", "the extension's name; NAME.raw is written")
    .addHelpText("after", torcxExamples)
    .action(
      async (source: string | undefined, name: string | undefined, options: Options & { readonly scan?: string }) => {
        if (options.scan !== undefined) return printScan(session, options.scan, options.json === true);
        if (source === undefined || name === undefined) {
          throw new FlixwrapError("usage", { what: "torcx needs a Torcx image and a name, or --scan ROOT" });
        }
        await run(session, {
          converter: "torcx",
          source,
          name,
          entries: [],
          options: { ...options, ...shipped(options.etc) },
        });
      },
    );
}

async function printScan(session: Session, root: string, json: boolean): Promise<void> {
  const { openFolder } = await import("../oci/folder-rootfs.ts");
  const { scanHost, wordScan } = await import("../wrap/torcx/scan.ts");
  const scan = scanHost(openFolder(root, session.context({ json, quiet: false })));
  session.terminal.out(
    json
      ? `${JSON.stringify(scan)}\n`
      : wordScan(scan)
          .map((line) => `${line}\n`)
          .join(""),
  );
}

/** `flixwrap pack FOLDER NAME` */
export function packCommand(session: Session): Command {
  return converter(session, "pack", [...architectureOptions, ...etcOptions, ...common])
    .description("Pack a folder of one's own as a system extension, with the same finish and the same checks.")
    .argument("<folder>", "its /usr and /opt are packed")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .addHelpText("after", packExamples)
    .action(async (folder: string, name: string, options: Options) => {
      const source = /^[a-z-]+:/.test(folder) ? folder : `dir:${folder}`;
      await run(session, {
        converter: "pack",
        source,
        name,
        entries: [],
        options: { ...options, ...shipped(options.etc) },
      });
    });
}

/** What commander makes of the option rows. */
type Options = ConvertOptions & { readonly json?: boolean; readonly quiet?: boolean; readonly etc?: unknown };

const shipped = (etc: unknown): Pick<ConvertOptions, "shipEtc"> =>
  Array.isArray(etc) ? { shipEtc: etc as string[] } : {};

function converter(session: Session, name: string, rows: readonly OptionRow[]): Command {
  const command = new Command(name);
  for (const row of rows) command.addOption(toOption(row, session.env));
  return command;
}

async function run(session: Session, request: Request & { readonly options: Options }): Promise<Outcome> {
  const { json = false, quiet = false, ...options } = request.options;
  const { convert } = await import("../convert/convert.ts");
  const stdin = request.source === "-" ? { stdin: session.stdin() } : {};
  const outcome = await convert({ ...request, options: { ...options, ...stdin } }, session.context({ json, quiet }));
  printOutcome(session.terminal, outcome, json);
  return outcome;
}
