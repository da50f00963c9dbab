import { wordRule } from "../../loader/index.ts";
import type { Need } from "./explanation.ts";

/** How a need was met, for people: `ld.so.cache, /lib/x86_64-linux-gnu`. */
export function wordNeedRule({ rule }: Need): string {
  if (rule === undefined) return "missing";
  return rule.kind === "shebang" ? "first line" : wordRule(rule);
}
