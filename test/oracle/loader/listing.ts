import { realpathSync } from "node:fs";
import { basename, dirname, posix } from "node:path";
import type { Closure } from "../../../src/loader/index.ts";

/** `NAME => PATH` lines of `ld.so --list`, of musl's too; the loader left out, paths as the kernel walks them. */
export function parseList(stdout: string, root: string): string[] {
  return stdout.split("\n").flatMap((line) => {
    const [, name, path] = /^\t(\S+)(?: => (.+?))?(?: \(0x[0-9a-f]+\))?$/.exec(line) ?? [];
    if (name === undefined || /ld-(?:linux|musl)|ld64\.so/.test(path ?? name) || name.startsWith("linux-vdso"))
      return [];
    return [`${name} => ${path === "not found" ? path : withoutParents(path ?? name, root)}`];
  });
}

/** `/a/link/..` is the parent of where the link leads; fixtures have relative links only on such ways. */
function withoutParents(path: string, root: string): string {
  if (!path.includes("/../")) return posix.normalize(posix.resolve("/", path));
  return realpathSync.native(`${root}${dirname(path)}`).slice(realpathSync.native(root).length) + `/${basename(path)}`;
}

/** A closure in the words of {@link parseList}, found objects first. */
export function wordClosure(closure: Closure): string[] {
  const found = closure.objects
    .filter(({ role }) => role === "library")
    // A name with a slash is listed with its tokens expanded: as the path alone.
    .map(
      ({ foundAs, reasons: [reason] }) => `${reason!.name.includes("/") ? foundAs[0] : reason!.name} => ${foundAs[0]}`,
    );
  return [...found, ...new Set(closure.missing.map(({ name }) => `${name} => not found`))];
}
