import type { Command } from "commander";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath, type RootPath } from "../core/paths.ts";
import { newCommand } from "./option-row.ts";
import { explainOptions, imageOptions, lateOptions } from "./options.ts";
import type { Session } from "./program.ts";
import type { ConvertOptions } from "../convert/request.ts";
import { readTemplate } from "../host/templates.ts";
import type { Explanation } from "../wrap/explain/explanation.ts";

const examples = `
Examples:
  $ flix explain nginx:latest /usr/sbin/nginx
  $ flix explain --html dir:./rootfs /usr/bin/ffmpeg > ffmpeg.html
  $ flix explain --dot oci:./layout:v1 /usr/bin/tool | dot -Tsvg > tool.svg
`;

type Options = Pick<ConvertOptions, "platform" | "creds" | "cacheDir" | "lib" | "dlopen" | "hwcaps"> &
  Readonly<Partial<Record<"json" | "dot" | "html", true>>>;

/** `flixwrap explain IMAGE PATH…`, also as `flix explain`. */
export function explainCommand(session: Session): Command {
  return newCommand("explain", [...explainOptions, ...imageOptions, ...lateOptions], session.env)
    .description("Show what flix would take for a program: who needs it, by which rule, from which package.")
    .argument("<image>", "where the program is, as for flix")
    .argument("<path...>", "programs, files or folders of the image")
    .addHelpText("after", examples)
    .action(async (source: string, paths: string[], options: Options) => {
      const context = session.context({ json: options.json ?? false, quiet: false });
      const wanted = paths.map(parsePath);
      const { explainImage } = await import("../convert/explain.ts");
      const explanation = await explainImage(source, wanted, options, context);
      session.terminal.out(await format(explanation, options));
    });
}

async function format(explanation: Explanation, { json, dot, html }: Options): Promise<string> {
  if (json) return `${JSON.stringify(explanation, undefined, 2)}\n`;
  if (dot) return (await import("../wrap/explain/dot.ts")).formatDot(explanation);
  if (!html) return (await import("../wrap/explain/text.ts")).formatText(explanation);
  const { formatPage } = await import("../wrap/explain/page.ts");
  return formatPage(explanation, readTemplate("explain.html"));
}

function parsePath(text: string): RootPath {
  if (text.startsWith("/")) return rootPath(text);
  throw new FlixwrapError("usage", { what: "not an absolute path of the image", got: text });
}
