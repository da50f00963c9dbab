import { join } from "node:path";
import { parseArgsStringToArgv } from "string-argv";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { runIsolated } from "../host/isolate.ts";
import { withTempFolder } from "../host/temp.ts";
import { stageTree } from "../pack/stage.ts";

const shownLines = 5;

/**
 * Runs each command in a root that holds the extension alone; the first that fails stops the build.
 * @throws FlixwrapError `smoke-failed` with the command's last lines; those of `runIsolated`.
 */
export async function runSmokeTests(tree: ExtensionTree, commands: readonly string[], context: Context): Promise<void> {
  if (commands.length === 0) return;
  await withTempFolder(context, async (temporary) => {
    const folder = join(temporary, "extension");
    await stageTree(tree, folder, 0, context);
    for (const command of commands) {
      const argv = parseArgsStringToArgv(command);
      if (argv.length === 0) throw new FlixwrapError("usage", { what: "--smoke needs a command" });
      const { status, stdout, stderr } = await runIsolated(folder, argv, {}, context);
      if (status !== 0) {
        const lines = [...stdout.split("\n"), ...stderr.split("\n")].filter((line) => line.trim() !== "");
        throw new FlixwrapError("smoke-failed", {
          what: "the program fails inside the extension",
          where: command,
          got: `exit status ${status}`,
          items: lines.slice(-shownLines),
        });
      }
      context.emit({ kind: "step", step: "smoke", detail: `${command}: ${stdout.split("\n")[0] ?? ""}` });
    }
  });
}
