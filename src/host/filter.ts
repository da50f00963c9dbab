import { spawnSync } from "node:child_process";
import { searchPath } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { missing } from "./command.ts";

/** A program that turns bytes into bytes, run to its end while everything waits: for reading of a few blocks. */
export interface Filter {
  readonly tool: string;
  /** Debian's name of the package that has it. */
  readonly package: string;
  readonly purpose: string;
  readonly args: readonly string[];
  readonly input: Uint8Array;
  /** Most bytes it may give. */
  readonly limit: number;
}

/** @throws FlixwrapError `host-tool-missing`, `host-tool-failed` (also for more output than the limit). */
export function runFilter(filter: Filter): Uint8Array {
  const { status, stdout, error, stderr } = spawnSync(filter.tool, filter.args, {
    input: filter.input,
    maxBuffer: filter.limit,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: searchPath(process.env, "/usr/bin:/bin"), LC_ALL: "C" },
  });
  if (error !== undefined && (error as NodeJS.ErrnoException).code === "ENOENT") throw missing(filter, error);
  if (error !== undefined || status !== 0)
    throw new FlixwrapError(
      "host-tool-failed",
      {
        what: `${filter.tool} failed to ${filter.purpose}`,
        got: stderr.toString("utf8").trim().split("\n").at(-1) ?? "",
      },
      { cause: error },
    );
  return stdout;
}
