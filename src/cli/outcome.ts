import { printable } from "../core/errors.ts";
import type { Shipped } from "../convert/ship.ts";
import type { Action, Plan } from "../extension/plan.ts";
import type { Terminal } from "./report.ts";

/** The result on stdout: the plan after a dry run, else what was written; `facts` go into the JSON line. */
export function printShipped(
  terminal: Terminal,
  plan: Plan,
  { file, beside, findings }: Shipped,
  json: boolean,
  facts: object,
): void {
  if (json) {
    const result = file === undefined ? { actions: plan.actions.map(describeAction) } : { file, beside };
    const warnings = [...plan.warnings, ...findings];
    terminal.out(`${JSON.stringify({ ...facts, warnings, ...result })}\n`);
  } else if (file === undefined) for (const action of plan.actions) terminal.out(`${printable(wordAction(action))}\n`);
  else for (const path of [file.path, ...beside]) terminal.out(`${path}\n`);
}

/** One line: what happens, where, from what, why. */
function wordAction(action: Action): string {
  const head = `${action.kind.padEnd(9)} ${action.to}`;
  switch (action.kind) {
    case "copy":
      return `${head} <- ${action.from.path} (${action.why})`;
    case "patch":
      return `${head} <- ${action.from.path} [${action.edits.join("; ")}] (${action.why})`;
    case "symlink":
      return `${head} -> ${action.target} (${action.why})`;
    case "write":
      return `${head} ${action.content.length} bytes (${action.why})`;
    case "directory":
      return `${head} ${action.mode.toString(8).padStart(4, "0")} (${action.why})`;
  }
}

/** The same as data: sources by path, no contents. */
function describeAction(action: Action): Record<string, unknown> {
  const { kind, to, why } = action;
  switch (action.kind) {
    case "copy":
      return { kind, to, why, from: action.from.path, size: action.from.size };
    case "patch":
      return { kind, to, why, from: action.from.path, size: action.size, edits: action.edits };
    case "symlink":
      return { kind, to, why, target: action.target };
    case "write":
      return { kind, to, why, size: action.content.length, mode: action.mode };
    case "directory":
      return { kind, to, why, mode: action.mode };
  }
}
