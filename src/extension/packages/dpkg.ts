import { defined } from "../../core/defined.ts";
import { rootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Package } from "./package.ts";
import { type Distribution, type Listing, readText } from "./listing.ts";

const folder = "/var/lib/dpkg";

/** Debian's database: `status` with `info/PACKAGE.list`, or one file per package in `status.d` (distroless). */
export function readDpkg(root: Rootfs, system: Distribution): Listing {
  const installed = parseStanzas(readText(root, `${folder}/status`) ?? "").filter((stanza) =>
    (stanza.get("Status") ?? "").endsWith(" installed"),
  );
  const single = root.list(rootPath(`${folder}/status.d`)).filter((name) => !name.includes("."));
  return [
    ...installed.flatMap((stanza) => {
      const name = stanza.get("Package") ?? "";
      const list =
        readText(root, `${folder}/info/${name}.list`) ??
        readText(root, `${folder}/info/${name}:${stanza.get("Architecture")}.list`);
      return describe(root, stanza, (list ?? "").split("\n"), system);
    }),
    ...single.flatMap((name) => {
      const [stanza] = parseStanzas(readText(root, `${folder}/status.d/${name}`) ?? "");
      // `MD5  path` per line, paths without a leading slash.
      const sums = readText(root, `${folder}/status.d/${name}.md5sums`) ?? "";
      const paths = sums.split("\n").map((line) => `/${line.replace(/^[0-9a-f]{32} +/, "")}`);
      return stanza === undefined ? [] : describe(root, stanza, paths, system);
    }),
  ];
}

function describe(root: Rootfs, stanza: Stanza, paths: readonly string[], system: Distribution): Listing {
  const [name, version] = [stanza.get("Package"), stanza.get("Version")];
  if (name === undefined || version === undefined) return [];
  const optional = {
    source: stanza.get("Source")?.replace(/ \(.*/, ""),
    supplier: stanza.get("Maintainer"),
    homepage: stanza.get("Homepage"),
  };
  const one: Package = {
    type: "deb",
    name,
    version,
    architecture: stanza.get("Architecture") ?? "all",
    ...system,
    ...defined(optional),
  };
  return [{ one, paths, licence: () => readLicence(root, name) }];
}

type Stanza = ReadonlyMap<string, string>;

/** deb822(5): fields of paragraphs; continuation lines are dropped, no field here needs them. */
function parseStanzas(text: string): Stanza[] {
  return text
    .split(/\n\n+/)
    .map((paragraph) => {
      const fields = new Map<string, string>();
      for (const line of paragraph.split("\n")) {
        const match = /^([!-9;-~]+):\s*(.*)$/.exec(line);
        if (match !== null) fields.set(match[1]!, match[2]!);
      }
      return fields;
    })
    .filter((fields) => fields.size > 0);
}

/** The short names in `License:` fields of a machine-readable copyright file (DEP-5); its prose is not guessed at. */
function readLicence(root: Rootfs, name: string): string | undefined {
  const text = readText(root, `/usr/share/doc/${name}/copyright`);
  if (text === undefined || !/^Format:.*copyright-format/m.test(text.slice(0, 1000))) return undefined;
  const names = new Set([...text.matchAll(/^License:[ \t]*(\S.*)$/gm)].map((match) => match[1]!.trim()));
  return names.size === 0 ? undefined : [...names].sort().join(" AND ");
}
