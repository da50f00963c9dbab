import type { Context, ProgressEvent } from "../core/context.ts";
import { type ErrorCode, FlixwrapError, printable } from "../core/errors.ts";

/** Where a run talks to: results go to `out`, everything else to `err`. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether `err` is a terminal that can redraw a line. */
  readonly interactive: boolean;
}

/** How a run talks: JSON lines instead of text; warnings and errors alone. */
export interface ReportStyle {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Turns events into a redrawn line on a terminal, plain lines elsewhere, JSON lines with `--json`. */
export function reportTo(terminal: Terminal, style: ReportStyle): Context["emit"] {
  if (style.json) return (event) => terminal.err(`${JSON.stringify(event)}\n`);
  let drawn = false;
  const clear = (): string => {
    const wasDrawn = drawn;
    drawn = false;
    return wasDrawn ? "\r\u001b[2K" : "";
  };
  return (event) => {
    if (event.kind === "progress") {
      if (style.quiet || !terminal.interactive) return;
      terminal.err(`\r\u001b[2K${wordProgress(event)}`);
      drawn = true;
      return;
    }
    if (style.quiet && event.kind !== "warning") return;
    terminal.err(`${clear()}${wordEvent(event)}\n`);
  };
}

/** Prints an error and gives the exit status it means (ARCHITECTURE.md, exit status). */
export function reportError(terminal: Terminal, style: ReportStyle, program: string, error: unknown): number {
  if (!(error instanceof FlixwrapError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const what = "this is a bug in flixwrap, please report it";
    if (style.json) terminal.err(`${JSON.stringify({ kind: "error", code: "bug", what, items: stack.split("\n") })}\n`);
    else terminal.err(`${program}: ${what}:\n${stack}\n`);
    return 70;
  }
  if (style.json) terminal.err(`${JSON.stringify({ kind: "error", code: error.code, ...error.facts })}\n`);
  else terminal.err(`${terminal.interactive ? "\r\u001b[2K" : ""}${program}: ${error.message}\n`);
  return statuses.get(error.code) ?? 1;
}

const statuses: ReadonlyMap<ErrorCode, number> = new Map([
  ["usage", 2],
  ["interrupted", 130],
]);

function wordEvent(event: Exclude<ProgressEvent, { kind: "progress" }>): string {
  switch (event.kind) {
    case "step":
      return `${event.step.padEnd(8)} ${printable(event.detail)}`;
    case "notice":
      return `notice   ${printable(event.message)}`;
    case "warning":
      return `warning  ${printable(event.message)}`;
  }
}

function wordProgress(event: Extract<ProgressEvent, { kind: "progress" }>): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
  const share = event.total === undefined ? "" : ` of ${megabytes(event.total)}`;
  return `${printable(event.what)}: ${megabytes(event.done)}${share} MB`;
}
