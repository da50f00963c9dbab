import { defined } from "../../core/defined.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { type Distribution, type Listing, readText } from "./listing.ts";

/** Alpine's database: paragraphs of `K:value` lines, `F:` a folder and `R:` a file in it (apk spec, "installed db"). */
export function readApk(root: Rootfs, system: Distribution): Listing {
  const text = readText(root, "/lib/apk/db/installed") ?? readText(root, "/usr/lib/apk/db/installed") ?? "";
  return text.split(/\n\n+/).flatMap((paragraph) => {
    const fields = new Map<string, string>();
    const paths: string[] = [];
    let folder = "";
    for (const line of paragraph.split("\n")) {
      const [key, value] = [line[0] ?? "", line.slice(2)];
      if (line[1] !== ":") continue;
      if (key === "F") {
        folder = value;
        paths.push(`/${folder}`);
      } else if (key === "R") paths.push(`/${folder}/${value}`);
      else if (!fields.has(key)) fields.set(key, value);
    }
    const [name, version] = [fields.get("P"), fields.get("V")];
    if (name === undefined || version === undefined) return [];
    const optional = {
      source: fields.get("o"),
      licence: fields.get("L"),
      supplier: fields.get("m"),
      homepage: fields.get("U"),
    };
    const architecture = fields.get("A") ?? "noarch";
    return [
      { one: { type: "apk", name, version, architecture, ...system, ...defined(optional) }, paths },
    ] satisfies Listing;
  });
}
