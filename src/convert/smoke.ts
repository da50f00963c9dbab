import { join } from "node:path";
import { parseArgsStringToArgv } from "string-argv";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ExtensionTree } from "../extension/tree.ts";
import { runIsolated } from "../host/isolate.ts";
import { withTempFolder } from "../host/temp.ts";
import { stageTree } from "../pack/stage.ts";

/** One way a staged extension is tried: what the command said at last, per way it ran. */
export type SmokeTest = (
  folder: string,
  argv: readonly [string, ...string[]],
  context: Context,
) => Promise<readonly { readonly way: string; readonly said: string }[]>;

/**
 * Runs each command in the staged extension; the first that fails stops the build.
 * @throws FlixwrapError `smoke-failed` with the command's last lines, and those of `test`.
 */
export async function runSmokeTests(
  tree: ExtensionTree,
  commands: readonly string[],
  test: SmokeTest,
  context: Context,
): Promise<void> {
  if (commands.length === 0) return;
  await withTempFolder(context, async (temporary) => {
    const folder = join(temporary, "extension");
    await stageTree(tree, folder, 0, context);
    for (const command of commands) {
      const [program, ...args] = parseArgsStringToArgv(command);
      if (program === undefined) throw new FlixwrapError("usage", { what: "--smoke needs a command" });
      for (const { way, said } of await test(folder, [program, ...args], context)) {
        context.emit({ kind: "step", step: "smoke", detail: `${command}${way === "" ? "" : `, ${way}`}: ${said}` });
      }
    }
  });
}

/** In a root that holds the extension alone. */
export const smokeTestAlone: SmokeTest = async (folder, argv, context) => {
  const { status, stdout, stderr } = await runIsolated(folder, argv, {}, context);
  const lines = [...stdout.split("\n"), ...stderr.split("\n")].filter((line) => line.trim() !== "");
  if (status === 0) return [{ way: "", said: lines[0] ?? "" }];
  throw new FlixwrapError("smoke-failed", {
    what: "the program fails inside the extension",
    where: argv.join(" "),
    got: `exit status ${status}`,
    items: lines.slice(-5),
  });
};
