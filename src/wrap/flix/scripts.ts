import { FlixwrapError } from "../../core/errors.ts";
import { type RootPath, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";

/** The first line of a script, taken apart as the kernel does (fs/binfmt_script.c). */
export interface Shebang {
  /** As written: `/usr/bin/env`. */
  readonly interpreter: string;
  /** Everything behind it, one argument. */
  readonly argument: string | undefined;
  /** Bytes of the line, its line feed included. */
  readonly length: number;
}

/** BINPRM_BUF_SIZE since Linux 5.1: what is behind is cut off. */
const longestLine = 255;

/** Whether the kernel would run it as a script: executable, and `#!` at its beginning. */
export function readShebang(rootfs: Rootfs, node: RootNode): Shebang | undefined {
  if (node.type !== "file" || (node.mode & 0o111) === 0) return undefined;
  const text = Buffer.from(rootfs.open(node).read(0, longestLine + 1)).toString("latin1");
  if (!text.startsWith("#!")) return undefined;
  const line = text.split("\n", 1)[0]!;
  const [, interpreter, argument] = /^#![ \t]*([^ \t\0]+)[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
  if (interpreter === undefined) return undefined;
  return { interpreter, argument: argument === "" ? undefined : argument, length: line.length + 1 };
}

/** What a script is run by, in the root: `#!/usr/bin/env python3` is python3 itself. */
export interface Interpreter {
  readonly path: RootPath;
  readonly argument: string | undefined;
}

/** PATH of a login on Debian, Alpine and Fedora alike. */
const searchPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/**
 * @throws FlixwrapError `wrap-script` when the root does not have the interpreter, or when `env` is asked to do more
 *   than to find it.
 */
export function findInterpreter(rootfs: Rootfs, script: RootNode, { interpreter, argument }: Shebang): Interpreter {
  const refuse = (what: string, hint: string): FlixwrapError =>
    new FlixwrapError("wrap-script", {
      what,
      where: script.path,
      got: `#!${interpreter}${argument === undefined ? "" : ` ${argument}`}`,
      hint,
    });
  if (!interpreter.startsWith("/")) throw refuse("a script's interpreter is not an absolute path", "use flatwrap");
  if (!interpreter.endsWith("/env")) {
    const path = rootPath(interpreter);
    if (rootfs.resolve(path)?.type === "file") return { path, argument };
    throw refuse("the interpreter of a script is not in the image", "add the package that has it to the image");
  }
  const words = (argument ?? "").replace(/^(-S|--split-string=)\s*/, "").split(/[ \t]+/);
  const [program = "", ...rest] = words;
  if (program === "" || program.startsWith("-") || program.includes("=") || rest.length > 1) {
    throw refuse("env does more in this script than to find the interpreter", "use flatwrap");
  }
  const path = program.startsWith("/")
    ? rootPath(program)
    : searchPath
        .map((folder) => rootPath(`${folder}/${program}`))
        .find((candidate) => rootfs.resolve(candidate)?.type === "file");
  if (path === undefined)
    throw refuse(`the image has no ${program} for a script`, "add the package that has it to the image");
  return { path, argument: rest[0] };
}

/** Scripts are text; nothing larger is held in memory. */
const largestScript = 64 * 1024 * 1024;

/** The script with its first line replaced. @throws FlixwrapError `wrap-script` when the kernel would cut the line off. */
export function rewriteScript(
  rootfs: Rootfs,
  script: { readonly node: RootNode; readonly shebang: Shebang; readonly line: string },
): Uint8Array {
  const { node, shebang, line } = script;
  if (line.length > longestLine || node.size > largestScript) {
    throw new FlixwrapError("wrap-script", {
      what: "the script or its new first line is too long",
      where: node.path,
      got: line.trimEnd(),
      wanted: `at most ${longestLine} bytes`,
      hint: "choose a shorter NAME or --prefix",
    });
  }
  return Buffer.concat([Buffer.from(line, "latin1"), rootfs.open(node).read(shebang.length, node.size)]);
}
