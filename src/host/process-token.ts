import { readFileSync, readlinkSync } from "node:fs";

/**
 * Names a process for as long as the machine runs: its number, its start time in clock ticks, and the PID
 * namespace the number belongs to (proc(5)). Used to tell what a killed process left behind.
 */
export type ProcessToken = string;

/** This process's token: `PID-STARTED-NAMESPACE`. */
export function ownToken(): ProcessToken {
  const stat = readFileSync("/proc/self/stat", "utf8");
  return [stat.slice(0, stat.indexOf(" ")), startTime(stat), ownNamespace()].join("-");
}

/** Undefined when it cannot be known from here: a process of another container. */
export function isAlive(token: ProcessToken): boolean | undefined {
  const [pid, start, namespace] = token.split("-");
  if (!/^\d+$/.test(pid ?? "") || namespace !== ownNamespace()) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return startTime(stat) === start && !isZombie(stat);
  } catch {
    return false;
  }
}

const ownNamespace = (): string => /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";

/** Dead, and its parent has not looked yet. */
const isZombie = (stat: string): boolean => /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));

/** Field 22; the second field, the program's name, may itself hold spaces and parentheses. */
const startTime = (stat: string): string => stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
