import { Command } from "commander";
import type { ConvertOptions } from "../convert.ts";
import { extensionOptions, imageOptions, lateOptions, runOptions, toOption } from "./options.ts";
import { printOutcome } from "./outcome.ts";
import type { Session } from "./program.ts";

const examples = `
IMAGE is a registry reference (alpine:latest, localhost:5000/tools@sha256:…), an OCI layout (oci:FOLDER:TAG)
or a folder (dir:./rootfs). PATH is a program, a file or a folder of the image; SOURCE:TARGET places it elsewhere.

Examples:
  $ flix alpine:latest b3sum /usr/bin/b3sum
  $ flix --smoke 'nginx -v' debian:12 nginx /usr/sbin/nginx /usr/share/nginx /lib/systemd/system/nginx.service:/usr/lib/systemd/system/nginx.service
  $ flix dir:./rootfs tool /bin/tool:/usr/bin/tool
  $ flix --dry-run oci:./layout:v1 tool /usr/bin/tool
`;

/** `flix IMAGE NAME PATH…` */
export function flixCommand(session: Session): Command {
  const command = new Command("flix")
    .description("Take programs out of an image, with their loader and libraries, into a system extension.")
    .argument("<image>", "where the program is")
    .argument("<name>", "the extension's name; NAME.raw is written")
    .argument("<path...>", "what to take: PATH or SOURCE:TARGET")
    .addHelpText("after", examples);
  for (const row of [...imageOptions, ...extensionOptions, ...lateOptions, ...runOptions])
    command.addOption(toOption(row, session.env));
  return command.action(async (image: string, name: string, entries: string[], options: FlixOptions) => {
    const { convert } = await import("../convert.ts");
    const context = session.context({ json: options.json === true, quiet: options.quiet === true });
    const outcome = await convert({ converter: "flix", source: image, name, entries, options }, context);
    printOutcome(session.terminal, outcome, options.json === true);
  });
}

/** What commander makes of the option rows. */
type FlixOptions = ConvertOptions & { readonly json?: boolean; readonly quiet?: boolean };
