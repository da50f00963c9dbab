import { extPath } from "../../core/paths.ts";
import type { Action } from "../plan.ts";
import { unitFolder } from "../units/names.ts";

/** A service that comes with an extension's own units, and how those are tied to it. */
export interface Companion {
  /** The service's file. */
  readonly text: string;
  readonly why: string;
  /** Lines for the `[Unit]` section of each unit. */
  readonly ties: string;
  /** Why they are there, after the unit's name: `waits for`. */
  readonly verb: string;
}

/** The service `NAME-KIND.service`, and a drop-in for each of `units` that ties it to the service. */
export function planCompanion(
  name: string,
  kind: "guard" | "setup",
  units: readonly string[],
  { text, why, ties, verb }: Companion,
): Action[] {
  const service = `${name}-${kind}.service`;
  const write = (path: string, content: string, reason: string): Action => ({
    kind: "write",
    to: extPath(`${unitFolder}/${path}`),
    content: Buffer.from(content),
    mode: 0o644,
    why: reason,
  });
  return [
    write(service, text, why),
    ...units.map((unit) => write(`${unit}.d/10-${name}-${kind}.conf`, `[Unit]\n${ties}`, `${unit} ${verb} ${service}`)),
  ];
}
