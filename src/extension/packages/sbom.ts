import { createHash } from "node:crypto";
import { defined } from "../../core/defined.ts";
import { hashUuid } from "../../core/uuid.ts";
import { type Package, packageUrl } from "./package.ts";

/** What a bill of materials is about. */
export interface SbomSubject {
  /** The extension's name. */
  readonly name: string;
  readonly version?: string;
  /** Version of flixwrap. */
  readonly tool: string;
  /** Seconds since 1970: the documents' date, so that equal builds give equal bytes. */
  readonly epoch: number;
  /** Reference and digest of the image. */
  readonly image?: string;
  readonly packages: readonly Package[];
}

/** SPDX 2.3 as JSON: the extension contains its packages. */
export function formatSpdx(subject: SbomSubject): string {
  const packages = sorted(subject.packages);
  const id = (at: number) => `SPDXRef-Package-${at + 1}`;
  const root = "SPDXRef-Extension";
  return json({
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: subject.name,
    documentNamespace: `urn:uuid:${uuidOf(subject)}`,
    creationInfo: { created: timeOf(subject.epoch), creators: [`Tool: flixwrap-${subject.tool}`] },
    packages: [
      {
        SPDXID: root,
        name: subject.name,
        ...defined({ versionInfo: subject.version }),
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        primaryPackagePurpose: "ARCHIVE",
        ...(subject.image === undefined ? {} : { sourceInfo: `converted from ${subject.image}` }),
      },
      ...packages.map((one, at) => ({
        SPDXID: id(at),
        name: one.name,
        versionInfo: one.version,
        ...(one.supplier === undefined ? {} : { supplier: supplierOf(one.supplier) }),
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        ...defined({ homepage: one.homepage }),
        ...(one.source === undefined ? {} : { sourceInfo: `built from source package ${one.source}` }),
        licenseConcluded: "NOASSERTION",
        licenseDeclared: "NOASSERTION",
        // Distributions' names are no SPDX identifiers in general: they are quoted, not translated.
        ...defined({ licenseComments: one.licence }),
        copyrightText: "NOASSERTION",
        externalRefs: [
          { referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: packageUrl(one) },
        ],
      })),
    ],
    relationships: [
      { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: root },
      ...packages.map((_, at) => ({ spdxElementId: root, relationshipType: "CONTAINS", relatedSpdxElement: id(at) })),
    ],
  });
}

/** CycloneDX 1.5 as JSON. */
export function formatCycloneDx(subject: SbomSubject): string {
  const packages = sorted(subject.packages);
  return json({
    $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuidOf(subject)}`,
    version: 1,
    metadata: {
      timestamp: timeOf(subject.epoch),
      tools: { components: [{ type: "application", name: "flixwrap", version: subject.tool }] },
      component: {
        type: "application",
        "bom-ref": "extension",
        name: subject.name,
        ...defined({ version: subject.version }),
        ...(subject.image === undefined ? {} : { properties: [{ name: "flixwrap:image", value: subject.image }] }),
      },
    },
    components: packages.map((one) => ({
      type: "library",
      "bom-ref": packageUrl(one),
      ...defined({ publisher: one.supplier }),
      name: one.name,
      version: one.version,
      ...(one.licence === undefined ? {} : { licenses: [{ license: { name: one.licence } }] }),
      purl: packageUrl(one),
      ...(one.homepage === undefined ? {} : { externalReferences: [{ type: "website", url: one.homepage }] }),
    })),
    dependencies: [{ ref: "extension", dependsOn: packages.map(packageUrl) }],
  });
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
const timeOf = (epoch: number): string => new Date(epoch * 1000).toISOString().replace(/\.\d+Z$/, "Z");

function sorted(packages: readonly Package[]): readonly Package[] {
  const keyed = packages.map((one) => ({ one, key: packageUrl(one) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ one }) => one);
}

/** SPDX wants `Person: NAME (MAIL)` or `Organization: …`. */
function supplierOf(text: string): string {
  const match = /^(.*?)\s*<([^>]*)>$/.exec(text);
  return match === null ? `Organization: ${text}` : `Organization: ${match[1]} (${match[2]})`;
}

/** A name-based UUID (RFC 9562, version 8): equal contents, equal identity. */
function uuidOf(subject: SbomSubject): string {
  const hash = createHash("sha256")
    .update(JSON.stringify({ ...subject, packages: sorted(subject.packages) }))
    .digest();
  return hashUuid(hash);
}
