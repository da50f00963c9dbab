import { type Finding, type RuleId } from "./finding.ts";
import { wordFinding } from "./check.ts";
import { wordings } from "./wording.ts";

/** Findings of several images as SARIF 2.1.0 (OASIS), which code hosts show beside the sources. */
export function formatSarif(
  reports: readonly { readonly files: readonly string[]; readonly findings: readonly Finding[] }[],
  version: string,
): string {
  const results = reports.flatMap(({ files, findings }) => findings.map((finding) => ({ files, finding })));
  const used = [...new Set(results.map(({ finding }) => finding.rule))].sort();
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
        results: results.map(({ files, finding }) => ({
          ruleId: finding.rule,
          ruleIndex: used.indexOf(finding.rule satisfies RuleId),
          level: finding.severity,
          message: { text: wordFinding(finding) },
          locations: files.map((file) => ({
            physicalLocation: { artifactLocation: { uri: file.split("/").map(encodeURIComponent).join("/") } },
            ...(finding.path === undefined
              ? {}
              : { logicalLocations: [{ fullyQualifiedName: finding.path, kind: "resource" }] }),
          })),
        })),
      },
    ],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}
