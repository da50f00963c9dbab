/**
 * The one error type for everything that can go wrong for a known reason.
 *
 * It is thrown where the facts are known and worded once, here; `src/cli/report` only prints it.
 * Anything else that reaches the command line is a bug (exit 70, with its stack).
 */

/** `usage` exits 2 and `interrupted` as a shell tells the signal (130 for SIGINT); every other code is `<room>-<problem>` and exits 1. */
export type ErrorCode = "usage" | "interrupted" | `${Room}-${string}`;

type Room = "core" | "host" | "elf" | "loader" | "oci" | "wrap" | "extension" | "pack" | "recipe" | "smoke";

/** What is known of a failure. `--json` prints these facts, {@link wordError} makes a message of them. */
export interface ErrorFacts {
  /** What failed, a clause without a full stop: `cannot find library libfoo.so.1`. */
  readonly what: string;
  /** The file, image path or URL concerned; a format error adds the byte offset: `/usr/bin/x at byte 0x40`. */
  readonly where?: string;
  readonly got?: string;
  readonly wanted?: string;
  /** What to do about it, a full sentence without its full stop. */
  readonly hint?: string;
  /** Several findings told at once; each is printed on its own indented line. */
  readonly items?: readonly string[];
}

/** A failure for a known reason; its message is {@link wordError} of its facts. */
export class FlixwrapError extends Error {
  override readonly name = "FlixwrapError";
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, facts: ErrorFacts, options?: { cause?: unknown }) {
    super(wordError(facts), options);
    this.code = code;
    this.facts = facts;
  }
}

/** Ctrl-C, whatever error it surfaced as. */
export const interrupted = (cause?: unknown): FlixwrapError =>
  new FlixwrapError("interrupted", { what: "interrupted" }, { cause });

/** More findings than anybody reads: an image can make thousands of them. `--json` has them all. */
const itemsTold = 200;

/** `what: where: got X, wanted Y; hint`, then one indented line per item. Control characters are escaped. */
export function wordError(facts: ErrorFacts): string {
  const expectation = [
    facts.got === undefined ? undefined : `got ${facts.got || "nothing"}`,
    facts.wanted === undefined ? undefined : `wanted ${facts.wanted}`,
  ].filter((part) => part !== undefined);
  const line = [facts.what, facts.where, expectation.join(", ") || undefined]
    .filter((part) => part !== undefined)
    .join(": ");
  const hinted = facts.hint === undefined ? line : `${line}; ${facts.hint}`;
  const items = facts.items ?? [];
  const told = items.slice(0, itemsTold).map((item) => `  ${item}`);
  if (items.length > itemsTold) told.push(`  and ${items.length - itemsTold} more`);
  return [hinted, ...told].map(printable).join("\n");
}

/**
 * Names come from images and servers: no control character, lone surrogate, or change of the writing's direction of theirs
 * reaches a terminal.
 */
export function printable(text: string): string {
  return text
    .replace(
      /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
    )
    .replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/[\ud800-\udfff]/gu, (c) => `\\x${(c.charCodeAt(0) & 0xff).toString(16).padStart(2, "0")}`);
}
