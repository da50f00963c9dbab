import { type Finding, type RuleId } from "./finding.ts";
import { wordFinding } from "./check.ts";
import { wordings } from "./wording.ts";

/** Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the sources; `file` is the checked image. */
export function formatSarif(findings: readonly Finding[], file: string, version: string): string {
  const used = [...new Set(findings.map(({ rule }) => rule))].sort();
  const log = {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "flixwrap",
            version,
            rules: used.map((id) => ({ id, shortDescription: { text: wordings[id].title } })),
          },
        },
        results: findings.map((finding) => ({
          ruleId: finding.rule,
          ruleIndex: used.indexOf(finding.rule satisfies RuleId),
          level: finding.severity,
          message: { text: wordFinding(finding) },
          locations: [
            {
              physicalLocation: { artifactLocation: { uri: encodeURI(file) } },
              ...(finding.path === undefined
                ? {}
                : { logicalLocations: [{ fullyQualifiedName: finding.path, kind: "resource" }] }),
            },
          ],
        })),
      },
    ],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}
