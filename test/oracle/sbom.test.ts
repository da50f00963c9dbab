import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { planFolder } from "../../src/extension/folder-plan.ts";
import { finishPlan } from "../../src/extension/finish.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import type { Rootfs } from "../../src/oci/rootfs.ts";
import { debianRoot } from "../support/debian-root.ts";
import { kept } from "../support/kept.ts";

interface Validator {
  /** null when the text is valid. */
  validate(text: string): Promise<unknown>;
}

/** CycloneDX's own library with its schemas and its strict validator; fetched once, no dependency of the project. */
function cycloneDxValidator(): Validator {
  const versions = [
    "@cyclonedx/cyclonedx-library@10.3.0",
    "ajv@8.17.1",
    "ajv-formats@3.0.1",
    "ajv-formats-draft2019@1.6.1",
  ];
  const place = kept("cyclonedx-10.3.0", (at) => {
    mkdirSync(at);
    execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", "--prefix", at, ...versions], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  });
  const { Validation, Spec } = createRequire(join(place, "index.js"))("@cyclonedx/cyclonedx-library") as {
    readonly Validation: { readonly JsonStrictValidator: new (version: string) => Validator };
    readonly Spec: { readonly Version: { readonly v1dot5: string } };
  };
  return new Validation.JsonStrictValidator(Spec.Version.v1dot5);
}

const alpine = memoryRootfs({
  "/etc/os-release": 'ID=alpine\nVERSION_ID="3.20.1"\n',
  "/lib/apk/db/installed":
    'C:Q1x\nP:b3sum\nV:1.5.1-r0\nA:x86_64\nS:1\nI:1\nT:A "fast" hash\nU:https://example.org/?a=b&c\nL:CC0-1.0 OR Apache-2.0\no:b3sum\nm:Jörg <j@example.org>\nF:usr/bin\nR:b3sum\n\n' +
    "P:odd~name+x\nV:2:1.0~rc1+dfsg-1\nA:x86_64\nL:a licence nobody knows\nF:usr/lib\nR:odd\n\n",
  "/usr/bin/b3sum": { content: "x", mode: 0o755 },
  "/usr/lib/odd": "y",
});

const roots: [string, () => Rootfs, number][] = [
  ["Debian's nginx", () => openFolder(debianRoot(["nginx-light"], { configured: true })), 80],
  ["an Alpine root with odd values", () => alpine, 2],
  ["a folder without packages", () => memoryRootfs({ "/usr/bin/x": "" }), 0],
];

let validator: Validator;
beforeAll(() => {
  validator = cycloneDxValidator();
});

describe.each(roots)("the bills of %s", (_, open, least) => {
  const bills = () => {
    const image = "docker.io/library/x@sha256:00";
    return finishPlan(planFolder(open()), {
      release: { name: "t", versionId: "1" },
      manifest: { flixwrap: "0", image },
    });
  };

  test("CycloneDX: its own library finds them valid, and a damaged one not", async () => {
    const { cycloneDx, packages } = bills();
    expect(packages.length).toBeGreaterThanOrEqual(least);
    expect(await validator.validate(cycloneDx)).toBe(null);
    expect(await validator.validate(cycloneDx.replace('"urn:uuid:', '"urn:'))).not.toBe(null);
  });

  // The official JSON schema of SPDX 2.3 is in no package registry; it found these valid (docs/pack.md). Here are the
  // rules that it has, and those that it cannot say.
  test("SPDX 2.3: clauses 6, 7 and 11", () => {
    const { spdx, packages } = bills();
    const bill = JSON.parse(spdx) as Spdx;
    expect(bill).toMatchObject({ spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT" });
    expect(bill.documentNamespace).toMatch(/^[a-z][a-z0-9+.-]*:[^#\s]+$/);
    expect(bill.creationInfo.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    for (const creator of bill.creationInfo.creators) expect(creator).toMatch(/^(Person|Organization|Tool): \S/);
    const ids = bill.packages.map(({ SPDXID }) => SPDXID);
    expect(new Set(ids).size).toBe(packages.length + 1);
    for (const one of bill.packages) {
      expect(one.SPDXID).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
      expect(one.name).not.toBe("");
      expect(one.downloadLocation).toMatch(/^(NONE|NOASSERTION|[a-z+]+:\S+)$/);
      if (one.supplier !== undefined) expect(one.supplier).toMatch(/^(NOASSERTION|(Person|Organization): \S.*)$/);
      for (const { referenceCategory, referenceType, referenceLocator } of one.externalRefs ?? []) {
        expect([referenceCategory, referenceType]).toEqual(["PACKAGE-MANAGER", "purl"]);
        expect(referenceLocator).toMatch(/^pkg:(deb|apk)\/[^/\s]+\/[^/\s@]+@[^\s@]+\?arch=[^&\s]+&distro=\S+$/);
      }
    }
    for (const { spdxElementId, relatedSpdxElement } of bill.relationships)
      for (const end of [spdxElementId, relatedSpdxElement]) expect(["SPDXRef-DOCUMENT", ...ids]).toContain(end);
  });
});

interface Spdx {
  readonly documentNamespace: string;
  readonly creationInfo: { readonly created: string; readonly creators: readonly string[] };
  readonly packages: readonly {
    readonly SPDXID: string;
    readonly name: string;
    readonly downloadLocation: string;
    readonly supplier?: string;
    readonly externalRefs?: readonly Record<"referenceCategory" | "referenceType" | "referenceLocator", string>[];
  }[];
  readonly relationships: readonly { readonly spdxElementId: string; readonly relatedSpdxElement: string }[];
}
