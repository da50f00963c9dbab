import { FlixwrapError } from "../core/errors.ts";

interface SystemError extends Error {
  readonly code: string;
}

/** One line per errno that a user can do something about (errno(3)). */
const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the disk",
  EDQUOT: "the disk quota is used up",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  EEXIST: "it exists already",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
  EFBIG: "the file is too large for the file system",
  EIO: "input/output error",
  EMFILE: "too many open files",
};

/** Whether an error is one that node made from a failed system call. */
export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && typeof (error as Partial<SystemError>).code === "string";
}

/**
 * A failed system call as one line: `cannot write: /out/x.raw: no space left on the disk`. Other errors are
 * returned as they are.
 */
export function wordSystemError(error: unknown, code: `host-${string}`, what: string, where: string): unknown {
  if (error instanceof FlixwrapError || !isSystemError(error)) return error;
  return new FlixwrapError(code, { what, where, got: reasons[error.code] ?? error.code }, { cause: error });
}
