import type { Command } from "commander";
import type { ConvertOptions, Request } from "../convert/request.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { RawFlatwrapOptions } from "../wrap/flatwrap/options.ts";
import { newCommand } from "./option-row.ts";
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
  packOptions,
  prefixOptions,
  publishOptions,
  runOptions,
  shellImageOptions,
  shellOptions,
  shipEtcOptions,
  startedOptions,
  stripOptions,
  torcxOptionRows,
  traceOptions,
} from "./options.ts";
import { printShipped } from "./outcome.ts";
import type { Session } from "./program.ts";

const references = `
IMAGE is a registry reference (alpine:latest, localhost:5000/tools@sha256:…),
an OCI layout (oci:FOLDER:TAG), an archive (oci-archive:FILE,
docker-archive:FILE, tar:FILE, - for standard input), a daemon's image
(docker-daemon:, podman:) or a folder (dir:./rootfs). PATH is a program, a file
or a folder of the image; SOURCE:TARGET places it elsewhere.
`;

const flixExamples = `${references}
Examples:
  $ flix --run 'apk add b3sum' alpine:latest b3sum /usr/bin/b3sum
  $ flix --smoke 'nginx -v' nginx:latest nginx /usr/sbin/nginx /usr/share/nginx
  $ flix dir:./rootfs tool /bin/tool:/usr/bin/tool
  $ flix --dry-run oci:./layout:v1 tool /usr/bin/tool
`;

const flatwrapExamples = `${references}
Examples:
  $ flatwrap --run 'apk add htop' --etc chroot alpine:latest htop /usr/bin/htop
  $ flatwrap --only-needed python:3 python /usr/local/bin/python3
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
  return newCommand(
    "flix",
    [
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
    ],
    session.env,
  )
    .description("Take programs out of an image, with their loader and libraries, into a system extension.")
    .argument("<image>", "where the program is")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .argument("<path...>", "what to take: PATH or SOURCE:TARGET")
    .addHelpText("after", flixExamples)
    .action(async (source: string, name: string, entries: string[], options: Options) => {
      await run(session, { converter: "flix", source, name, entries, options });
    });
}

/** `flatwrap IMAGE NAME PATH…` */
export function flatwrapCommand(session: Session): Command {
  return newCommand(
    "flatwrap",
    [
      ...imageOptions,
      ...shellImageOptions,
      ...imageRunOptions,
      ...prefixOptions,
      ...flatwrapOptionRows,
      ...shipEtcOptions,
      ...common,
    ],
    session.env,
  )
    .description("Ship an image's root as a whole; its programs run in their own view of the file system.")
    .argument("<image>", "where the program is")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .argument("<path...>", "entry points, units and data: PATH or SOURCE:TARGET")
    .addHelpText("after", flatwrapExamples)
    .action(async (source: string, name: string, entries: string[], options: Options & RawFlatwrapOptions) => {
      const { etc, var: state, home, host, chroot, hostFiles, bind, exclude, onlyNeeded, unitMode, ...rest } = options;
      const flatwrap = defined({ etc, var: state, home, host, chroot, hostFiles, bind, exclude, onlyNeeded, unitMode });
      await run(session, { converter: "flatwrap", source, name, entries, options: { ...rest, flatwrap } });
    });
}

/** `flixwrap torcx TARBALL NAME`, also `torcx-sysext TARBALL NAME` */
export function torcxCommand(session: Session): Command {
  return newCommand(
    "torcx",
    [...torcxOptionRows, ...imageOptions.slice(-1), ...architectureOptions, ...prefixOptions, ...etcOptions, ...common],
    session.env,
  )
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
        await run(session, { converter: "torcx", source, name, entries: [], options });
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
  return newCommand("pack", [...architectureOptions, ...etcOptions, ...common], session.env)
    .description("Pack a folder of one's own as a system extension, with the same finish and the same checks.")
    .argument("<folder>", "its /usr and /opt are packed")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .addHelpText("after", packExamples)
    .action(async (folder: string, name: string, options: Options) => {
      const source = /^[a-z-]+:/.test(folder) ? folder : `dir:${folder}`;
      await run(session, { converter: "pack", source, name, entries: [], options });
    });
}

/** What commander makes of the option rows. */
type Options = ConvertOptions & { readonly json?: boolean; readonly quiet?: boolean };

async function run(session: Session, request: Request & { readonly options: Options }): Promise<void> {
  const { json = false, quiet = false, ...options } = request.options;
  const { convert } = await import("../convert/convert.ts");
  const outcome = await convert({ ...request, options }, session.context({ json, quiet }));
  printShipped(session.terminal, outcome.plan, outcome, json, { image: outcome.image });
}
