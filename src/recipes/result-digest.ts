import { createHash } from "node:crypto";
import type { Action, Plan } from "../extension/plan.ts";

/** One digest over paths, modes and contents of everything planned, whatever the order of the actions. */
export async function digestActions(plans: readonly Plan[]): Promise<string> {
  const lines: string[] = [];
  for (const plan of plans) for (const action of plan.actions) lines.push(await lineOf(action, plan));
  const hash = createHash("sha256");
  for (const line of lines.sort()) hash.update(`${line}\n`);
  return `sha256:${hash.digest("hex")}`;
}

async function lineOf(action: Action, plan: Plan): Promise<string> {
  if (action.kind === "symlink") return JSON.stringify([action.to, "symlink", action.target]);
  if (action.kind === "directory") return JSON.stringify([action.to, "directory", action.mode]);
  const hash = createHash("sha256");
  if (action.kind === "write") hash.update(action.content);
  else if (action.from.type === "file")
    for await (const chunk of plan.source.open(action.from).stream()) hash.update(chunk as Buffer);
  // A patch is a function of its source and its writes.
  if (action.kind === "patch") for (const { offset, bytes } of action.writes) hash.update(`${offset}:`).update(bytes);
  return JSON.stringify([action.to, action.kind === "write" ? action.mode : action.from.mode, hash.digest("hex")]);
}
