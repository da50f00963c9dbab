import { defined } from "../../core/defined.ts";
import { rootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Package } from "./package.ts";
import { type Distribution, type Listing, readText } from "./listing.ts";

const folder = "/var/lib/dpkg";

/** Debian's database: `status` with `info/PACKAGE.list`, or one file per package in `status.d` (distroless). */
export function readDpkg(root: Rootfs, system: Distribution): Listing {
  const single = root.list(rootPath(`${folder}/status.d`)).filter((name) => !name.endsWith(".md5sums"));
  return [`${folder}/status`, ...single.map((name) => `${folder}/status.d/${name}`)]
    .flatMap((path) => parseStanzas(readText(root, path) ?? ""))
    .flatMap((stanza) => describe(root, stanza, system));
}

function describe(root: Rootfs, stanza: Stanza, system: Distribution): Listing {
  const [name, version] = [stanza.get("Package"), stanza.get("Version")];
  // dpkg(1), package states: the others have files in the root.
  if (name === undefined || version === undefined || / (not-installed|config-files)$/.test(stanza.get("Status") ?? ""))
    return [];
  const architecture = stanza.get("Architecture") ?? "all";
  const optional = {
    source: stanza.get("Source")?.replace(/ \(.*/, ""),
    supplier: stanza.get("Maintainer"),
    homepage: stanza.get("Homepage"),
  };
  const one: Package = { type: "deb", name, version, architecture, ...system, ...defined(optional) };
  return [
    {
      one,
      provides: [name, ...splitDepends(stanza.get("Provides")).flat()],
      depends: [...splitDepends(stanza.get("Depends")), ...splitDepends(stanza.get("Pre-Depends"))],
      paths: () => readPaths(root, name, architecture),
      licence: () => readLicence(root, name),
    },
  ];
}

function readPaths(root: Rootfs, name: string, architecture: string): readonly string[] {
  const list =
    readText(root, `${folder}/info/${name}.list`) ?? readText(root, `${folder}/info/${name}:${architecture}.list`);
  if (list !== undefined) return list.split("\n").filter((line) => line !== "");
  // `MD5  path` per line, paths without a leading slash.
  const sums = readText(root, `${folder}/status.d/${name}.md5sums`) ?? "";
  return [...sums.matchAll(/^[0-9a-f]{32} +(.+)$/gm)].map(([, path]) => `/${path}`);
}

/** `a (>= 1) | b:any, c` as groups of names. */
const splitDepends = (text = ""): string[][] =>
  text
    .split(",")
    .filter((group) => group.trim() !== "")
    .map((group) => group.split("|").map((name) => name.trim().replace(/[\s(:[].*$/s, "")));

type Stanza = ReadonlyMap<string, string>;

/** Fields of paragraphs, with their continuation lines (deb822(5)). */
const parseStanzas = (text: string): Stanza[] =>
  text
    .split(/\n{2,}/)
    .map(
      (paragraph) =>
        new Map(
          [...paragraph.matchAll(/^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)].map(([, name, value]) => [name!, value!]),
        ),
    );

/** The short names in `License:` fields of a machine-readable copyright file (DEP-5); its prose is not guessed at. */
function readLicence(root: Rootfs, name: string): string | undefined {
  const text = readText(root, `/usr/share/doc/${name}/copyright`);
  if (text === undefined || !/^Format:.*copyright-format/m.test(text.slice(0, 1000))) return undefined;
  const names = new Set([...text.matchAll(/^License:[ \t]*(\S.*)$/gm)].map((match) => match[1]!.trim()));
  return names.size === 0 ? undefined : [...names].sort().join(" AND ");
}
