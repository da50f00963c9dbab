import { createReadStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgsStringToArgv } from "string-argv";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { confine } from "../core/sandbox.ts";
import { rootPath } from "../core/paths.ts";
import type { Plan } from "../extension/plan.ts";
import { tryCommand } from "../host/command.ts";
import { inheritedDescriptors } from "../host/descriptors.ts";
import { withTempFolder } from "../host/temp.ts";
import { currentUser } from "../host/user.ts";
import { extractTar } from "../oci/extract.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { writeTar } from "../oci/tar/writer.ts";
import { findAdditions, readTraceLine, traceOptions } from "../wrap/flix/trace.ts";

/**
 * Runs each command in a copy of the whole root under strace, without a network, and tells what it opened that the plan
 * lacks. A command that fails is told, and no error: what it opened until then counts.
 * @throws FlixwrapError `host-trace-failed` when it cannot be started there; `host-tool-missing`, `host-tool-timeout`.
 */
export async function traceCommands(
  rootfs: Rootfs,
  plan: Plan,
  commands: readonly string[],
  context: Context,
): Promise<void> {
  await withTempFolder(context, async (temporary) => {
    const root = join(temporary, "root");
    await mkdir(root);
    await copyRoot(rootfs, root, context);
    for (const [index, command] of commands.entries()) {
      const log = join(temporary, `log-${index}`);
      const paths = await trace(root, command, log, context);
      const additions = findAdditions(rootfs, plan, paths);
      const sum = additions.length === 0 ? "the extension has all that it opened" : "it opened what is not taken:";
      context.emit({ kind: "step", step: "trace", detail: `${command}: ${sum}` });
      for (const message of additions) context.emit({ kind: "notice", message });
    }
  });
}

async function copyRoot(rootfs: Rootfs, folder: string, context: Context): Promise<void> {
  const nodes = [...rootfs.walk(rootPath("/"))].filter(({ type }) => !type.endsWith("-device"));
  try {
    await extractTar(writeTar(rootfs, nodes), folder, context, { owners: currentUser().isRoot });
  } catch (error) {
    if (error instanceof FlixwrapError) throw error;
    const got = error instanceof Error ? error.message : String(error);
    throw new FlixwrapError("host-trace-failed", { what: "cannot copy the image's root", got }, { cause: error });
  }
}

async function trace(root: string, command: string, log: string, context: Context): Promise<readonly string[]> {
  const argv = parseArgsStringToArgv(command);
  if (argv.length === 0) throw new FlixwrapError("usage", { what: "--trace needs a command" });
  const { options, given } = confine("/proc", inheritedDescriptors());
  const sandbox = [
    "--bind",
    root,
    "/",
    ..."--dev /dev --tmpfs /tmp --unshare-net --unshare-pid --unshare-ipc".split(" "),
    ...options,
  ];
  const setting = [
    "--die-with-parent",
    "--chdir",
    "/",
    "--clearenv",
    "--setenv",
    "HOME",
    "/tmp",
    "--setenv",
    "PATH",
    searchPath,
  ];
  const { status, stderr } = await tryCommand(
    {
      tool: "strace",
      package: "strace",
      purpose: "see what a program opens",
      timeout: 60_000,
      given,
      args: [...traceOptions, "-o", log, "bwrap", ...sandbox, ...setting, "--", ...argv],
    },
    context,
  );
  const paths = await readLog(log);
  const said = stderr.trim().split("\n").at(-1) ?? "";
  if (paths === undefined) {
    throw new FlixwrapError("host-trace-failed", {
      what: "the command cannot be started in the image's root",
      where: command,
      got: said,
      hint: "strace and bwrap (package bubblewrap) are needed, and leave to make namespaces",
    });
  }
  if (status !== 0) context.emit({ kind: "warning", message: `${command} ends with status ${status}: ${said}` });
  return paths;
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Everything that was opened since the command began, its own file included; undefined when it never began. */
async function readLog(log: string): Promise<readonly string[] | undefined> {
  // The first program that starts is bwrap, of this machine.
  let starts = 0;
  const paths = new Set<string>();
  for await (const line of createInterface({ input: createReadStream(log, "latin1") })) {
    const told = readTraceLine(line);
    if (told?.kind === "started") starts++;
    if (told !== undefined && starts > 1) paths.add(told.path);
  }
  return starts > 1 ? [...paths] : undefined;
}
