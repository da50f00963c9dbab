import { defined } from "../../core/defined.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { type Distribution, type Listing, readText } from "./listing.ts";
import type { Package } from "./package.ts";

/** Alpine's database: paragraphs of `K:value` lines, `F:` a folder and `R:` a file in it (apk spec, "installed db"). */
export function readApk(root: Rootfs, system: Distribution): Listing {
  const text = readText(root, "/lib/apk/db/installed") ?? readText(root, "/usr/lib/apk/db/installed") ?? "";
  return text.split(/\n{2,}/).flatMap((paragraph): Listing => {
    const lines = paragraph.split("\n").filter((line) => line[1] === ":");
    const value = (key: string) => lines.find((line) => line[0] === key)?.slice(2);
    // `!name` is a conflict; versions are behind `=`, `<`, `>` or `~`.
    const names = (key: string): string[] =>
      (value(key) ?? "")
        .split(" ")
        .filter((word) => word !== "" && !word.startsWith("!"))
        .map((word) => word.replace(/[<>=~].*$/, ""));
    const [name, version] = [value("P"), value("V")];
    if (name === undefined || version === undefined) return [];
    const optional = { source: value("o"), licence: value("L"), supplier: value("m"), homepage: value("U") };
    const one: Package = {
      type: "apk",
      name,
      version,
      architecture: value("A") ?? "noarch",
      ...system,
      ...defined(optional),
    };
    const depends = names("D").map((need) => [need]);
    return [{ one, provides: [name, ...names("p")], depends, paths: () => readPaths(lines) }];
  });
}

function readPaths(lines: readonly string[]): readonly string[] {
  let folder = "";
  return lines.flatMap((line) => {
    if (line[0] === "F") folder = line.slice(2);
    return line[0] === "F" ? [`/${folder}`] : line[0] === "R" ? [`/${folder}/${line.slice(2)}`] : [];
  });
}
