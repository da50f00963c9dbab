import { defined } from "../../core/defined.ts";
import type { Subject } from "./subject.ts";
import type { wordings } from "./wording.ts";

/** `error` stops a build and makes `flixwrap check` exit 1; `note` is worth knowing. */
export type Severity = "error" | "warning" | "note";

/** Names of the checks, as `--no-check` takes them. */
export type RuleId = keyof typeof wordings;

/** What a rule found, as data; {@link wordings} has the sentences. */
export interface Finding {
  readonly rule: RuleId;
  readonly severity: Severity;
  /** Path inside the extension; absent when it concerns the whole. */
  readonly path?: string;
  readonly facts: Facts;
}

/** What a finding's words are filled with, by the names of their placeholders. */
export type Facts = Readonly<Record<string, string>>;

/** A rule looks at the subject and tells what it finds. */
export type Rule = (subject: Subject) => Iterable<Finding>;

/** Shorthand of the rules. */
export function found(rule: RuleId, severity: Severity, path: string | undefined, facts: Facts = {}): Finding {
  return { rule, severity, facts, ...defined({ path }) };
}
