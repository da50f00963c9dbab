import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { tryCommand } from "../host/command.ts";

/** The ways templates/flatwrap-enter.sh can start a program: what FLATWRAP_VIA may be. */
const ways = ["start", "unshare", "bwrap"];

/**
 * Runs a command with the wrappers of a staged extension first in PATH, in each way this machine allows. It sees
 * what the program will see on a host: the host's folders, too.
 * @returns what the command said at last, per way; none when the machine allows no way.
 * @throws FlixwrapError `smoke-failed` with the command's last lines.
 */
export async function smokeTestWrapped(
  extension: string,
  argv: readonly [string, ...string[]],
  context: Context,
): Promise<readonly { readonly way: string; readonly said: string }[]> {
  const [program, ...args] = argv;
  const folders = ["usr/bin", "usr/local/bin", "opt/bin"].map((folder) => join(extension, folder));
  const passed: { way: string; said: string }[] = [];
  for (const via of ways) {
    const command = {
      tool: program.startsWith("/") ? join(extension, program) : program,
      args,
      package: "the extension",
      purpose: "be tried",
      cwd: "/",
      timeout: 60_000,
      env: {
        FLATWRAP_VIA: via,
        FLATWRAP_ROOT: extension,
        PATH: [...folders, context.env["PATH"] ?? "/usr/bin:/bin"].join(":"),
      },
    };
    const { status, stdout, stderr } = await tryCommand(command, context).catch((error: unknown) => {
      if (!(error instanceof FlixwrapError) || error.code !== "host-tool-missing") throw error;
      throw new FlixwrapError("smoke-failed", {
        what: "neither the extension nor PATH has the program to try",
        where: program,
      });
    });
    const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim() !== "");
    // The wrapper's own refusal: a tool is missing, or namespaces are forbidden.
    const refusal = status === 126 ? stderr.split("\n").find((line) => line.startsWith("flatwrap: ")) : undefined;
    if (refusal !== undefined) context.emit({ kind: "notice", message: `smoke by ${via} is left out: ${refusal}` });
    else if (status === 0) passed.push({ way: `by ${via}`, said: lines[0] ?? "" });
    else {
      throw new FlixwrapError("smoke-failed", {
        what: `the program fails in its view of the file system, by ${via}`,
        where: argv.join(" "),
        got: `exit status ${status}`,
        items: lines.slice(-5),
      });
    }
  }
  return passed;
}
