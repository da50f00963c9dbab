import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";

/** What every complaint about a file needs to name it. */
interface Named {
  readonly name: string;
}

/** `0x1f40`. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** A field that contradicts the format, or bytes that are not there. */
export function malformed(
  file: Named,
  at: number | bigint,
  what: string,
  got?: string,
  wanted?: string,
): FlixwrapError {
  return new FlixwrapError("elf-malformed", {
    what,
    where: `${file.name} at byte ${hex(at)}`,
    ...defined({ got, wanted }),
  });
}

/** An edit that cannot be made without risking the file; nothing was written. */
export function refused(
  code: `elf-${string}`,
  file: Named,
  what: string,
  details: { readonly got?: string; readonly wanted?: string; readonly hint?: string } = {},
): FlixwrapError {
  return new FlixwrapError(code, { what, where: file.name, ...details });
}
