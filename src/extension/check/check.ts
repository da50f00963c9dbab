import type { Rootfs } from "../../oci/rootfs.ts";
import type { ExtensionTree } from "../tree.ts";
import { extensionRootfs } from "../tree-rootfs.ts";
import { defined } from "../../core/defined.ts";
import { FlixwrapError, printable } from "../../core/errors.ts";
import type { Finding, Rule, RuleId, Severity } from "./finding.ts";
import { type HostProfile, hostProfiles } from "./hosts.ts";
import { checkArchitecture, checkClosure } from "./rules-elf.ts";
import {
  checkCase,
  checkHostLibraries,
  checkLinks,
  checkOsRelease,
  checkOutside,
  checkShadowedFiles,
  checkShadowedFolders,
  checkShadowedLinks,
} from "./rules-layout.ts";
import { checkFolderModes, checkOwners, checkSetuid, checkSpecialFiles, checkWorldWritable } from "./rules-modes.ts";
import { checkName, checkReleaseFields, checkReleaseName } from "./rules-release.ts";
import {
  checkUnitEnabled,
  checkUnitPrograms,
  checkUnitReload,
  checkUnitSyntax,
  checkUnitUsers,
} from "./rules-units.ts";
import { type Subject, openSubject } from "./subject.ts";
import { wordings } from "./wording.ts";

const rules: readonly Rule[] = [
  checkReleaseName,
  checkName,
  checkReleaseFields,
  checkOutside,
  checkOsRelease,
  checkShadowedLinks,
  checkShadowedFolders,
  checkHostLibraries,
  checkShadowedFiles,
  checkFolderModes,
  checkWorldWritable,
  checkSetuid,
  checkOwners,
  checkSpecialFiles,
  checkLinks,
  checkCase,
  checkArchitecture,
  checkClosure,
  checkUnitSyntax,
  checkUnitPrograms,
  checkUnitReload,
  checkUnitEnabled,
  checkUnitUsers,
];

/** What to check against, and what to let pass. */
export interface CheckOptions {
  /** Profiles by name (`flatcar`); all of them when none is named. */
  readonly hosts?: readonly string[];
  /** A real host's tree, more exact than any profile. */
  readonly host?: Rootfs;
  /** Rules that are not applied. */
  readonly skip?: readonly string[];
}

/**
 * Applies every rule to an extension's content. Findings come in the rules' order; none means it is as it should
 * be. @param fileName how the host will see it: `b3sum.raw`, or a folder's name.
 * @throws FlixwrapError `usage` for unknown hosts or rules.
 */
export function checkExtension(rootfs: Rootfs, fileName: string, options: CheckOptions = {}): readonly Finding[] {
  const skip = new Set(options.skip?.map(parseRule));
  return runRules(
    openSubject(rootfs, {
      fileName,
      hosts: chooseHosts(options.hosts),
      chosen: options.hosts !== undefined && options.hosts.length > 0,
      ...defined({ host: options.host }),
    }),
  ).filter(({ rule }) => !skip.has(rule));
}

/**
 * Whether the options name rules and hosts that there are, long before there is an extension to check.
 * @throws FlixwrapError `usage`.
 */
export function checkNames({ skip, hosts }: CheckOptions): void {
  skip?.forEach(parseRule);
  chooseHosts(hosts);
}

/** {@link checkExtension} of a tree that is about to be packed as `NAME.raw`. */
export function checkTree(tree: ExtensionTree, options: CheckOptions = {}): readonly Finding[] {
  return checkExtension(extensionRootfs(tree), `${tree.name}.raw`, options);
}

/**
 * Stops a build that would not do: all errors at once.
 * @throws FlixwrapError `extension-check`.
 */
export function refuseErrors(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length === 0) return;
  throw new FlixwrapError("extension-check", {
    what: `the extension has ${errors.length === 1 ? "an error" : `${errors.length} errors`}`,
    hint: `${[...new Set(errors.map(({ rule }) => `--no-check ${rule}`))].join(" ")} lets it pass`,
    items: errors.map((finding) => `${wordFinding(finding)} [${finding.rule}]`),
  });
}

function runRules(subject: Subject): Finding[] {
  const findings: Finding[] = [];
  for (const rule of rules) for (const finding of rule(subject)) findings.push(finding);
  return findings;
}

function chooseHosts(names: readonly string[] = []): readonly HostProfile[] {
  if (names.length === 0) return hostProfiles;
  return names.map((name) => {
    const profile = hostProfiles.find((row) => row.name === name || row.id === name);
    if (profile !== undefined) return profile;
    const wanted = hostProfiles.map((row) => row.name).join(", ");
    throw new FlixwrapError("usage", { what: "no such host profile", got: name, wanted });
  });
}

function parseRule(name: string): RuleId {
  if (Object.hasOwn(wordings, name)) return name as RuleId;
  throw new FlixwrapError("usage", { what: "no such check", got: name, wanted: Object.keys(wordings).join(", ") });
}

/** `/usr/sbin: is a link to bin on flatcar …; hint`, one line without control characters. */
export function wordFinding(finding: Finding, withHint = true): string {
  const wording: { message: (facts: Finding["facts"]) => string; hint?: string } = wordings[finding.rule];
  const message = wording.message(finding.facts);
  const hint = withHint && wording.hint !== undefined && finding.severity !== "note" ? `; ${wording.hint}` : "";
  return printable(`${finding.path === undefined ? "it" : `${finding.path}:`} ${message}${hint}`);
}

/** How many findings there are of each severity. */
export function countFindings(findings: readonly Finding[]): Readonly<Record<Severity, number>> {
  const count = { error: 0, warning: 0, note: 0 };
  for (const { severity } of findings) count[severity]++;
  return count;
}
