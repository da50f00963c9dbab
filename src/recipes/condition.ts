import { FlixwrapError } from "../core/errors.ts";
import type { Values } from "./template.ts";
import { compareVersions } from "./version-order.ts";

/**
 * A `when:` of a recipe: comparisons joined by ` and `. Each is `name`, `!name`, or `name OP literal`; `==` and
 * `!=` compare texts, `<`, `<=`, `>` and `>=` compare in version order. An option that was not given is "".
 */
const comparison = /^(?:(!?)([a-z][a-z0-9-]*)|([a-z][a-z0-9-]*)\s*(==|!=|<=|>=|<|>)\s*(\S+))$/;

/** One term of a `when`: what is asked of a name. */
export interface Comparison {
  readonly name: string;
  readonly operator: "set" | "unset" | "==" | "!=" | "<" | "<=" | ">" | ">=";
  readonly literal: string;
}

/** @throws FlixwrapError `recipe-condition` */
export function parseCondition(text: string): Comparison[] {
  return text.split(/\s+and\s+/).map((part) => {
    const match = comparison.exec(part.trim());
    if (match === null) {
      throw new FlixwrapError("recipe-condition", {
        what: "this condition cannot be read",
        where: JSON.stringify(text),
        wanted: "NAME, !NAME or NAME OPERATOR VALUE, joined by ` and `",
      });
    }
    const [, not, lone, name, operator, literal] = match;
    if (lone !== undefined) return { name: lone, operator: not === "!" ? "unset" : "set", literal: "" };
    return { name: name!, operator: operator as Comparison["operator"], literal: literal! };
  });
}

/** Whether the condition holds; no condition always does. */
export const holds = (condition: string | undefined, values: Values): boolean =>
  condition === undefined || parseCondition(condition).every((one) => compare(one, values[one.name] ?? ""));

const compare = ({ operator, literal }: Comparison, value: string): boolean => tests[operator](value, literal);

const isSet = (value: string): boolean => value !== "" && value !== "false";

const tests: Readonly<Record<Comparison["operator"], (value: string, literal: string) => boolean>> = {
  set: isSet,
  unset: (value) => !isSet(value),
  "==": (value, literal) => value === literal,
  "!=": (value, literal) => value !== literal,
  "<": (value, literal) => compareVersions(value, literal) < 0,
  "<=": (value, literal) => compareVersions(value, literal) <= 0,
  ">": (value, literal) => compareVersions(value, literal) > 0,
  ">=": (value, literal) => compareVersions(value, literal) >= 0,
};
