import { FlixwrapError } from "../../core/errors.ts";

/** Whether an error is the operating system's: it has a `code` such as `ENOSPC`. */
export const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && "syscall" in error && "errno" in error;

/** Whether a file was not there. */
export const isMissing = (error: unknown): boolean => isSystemError(error) && error.code === "ENOENT";

const problems: Readonly<Record<string, string>> = {
  ENOSPC: "no space left",
  EACCES: "permission denied",
  EROFS: "a read-only file system",
  ENOTDIR: "a part of the path is not a folder",
  ENOENT: "no folder can be made there",
};

/** What the system refused in the cache, as `oci-cache` with a hint. */
export function cacheError(what: string, where: string, cause: unknown): FlixwrapError {
  const code = isSystemError(cause) ? cause.code : undefined;
  return new FlixwrapError(
    "oci-cache",
    {
      what,
      where,
      got: problems[code ?? ""] ?? (cause instanceof Error ? cause.message : String(cause)),
      hint:
        code === "ENOSPC"
          ? "free some space with flixwrap cache prune, or choose another --cache-dir"
          : "choose another --cache-dir",
    },
    { cause },
  );
}
