import { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { FlixwrapError } from "../core/errors.ts";

/** A line of the list of what a release has: a recipe and a version or `latest`. */
export interface WantedRelease {
  readonly name: string;
  readonly version: string;
  readonly options?: Readonly<Record<string, string>>;
  /** `FILE:LINE`, for messages. */
  readonly where: string;
}

/**
 * The reference's `release_build_versions.txt` (`NAME VERSION`, comments after `#`), or YAML: a list of
 * `NAME VERSION` texts and of maps `{name, version, options}`.
 * @throws FlixwrapError `recipe-releases`, all lines that cannot be read at once
 */
export function parseReleases(text: string, file: string): WantedRelease[] {
  return /\.ya?ml$/.test(file) ? parseYamlList(text, file) : parseLines(text, file);
}

function parseLines(text: string, file: string): WantedRelease[] {
  const bad: string[] = [];
  const wanted = text.split(/\r?\n/).flatMap((line, at): WantedRelease[] => {
    const words = line.replace(/#.*$/, "").trim().split(/\s+/);
    if (words[0] === "") return [];
    const [name, version, ...rest] = words;
    if (name !== undefined && version !== undefined && rest.length === 0)
      return [{ name, version, where: `${file}:${at + 1}` }];
    bad.push(`${file}:${at + 1}: ${line.trim()}`);
    return [];
  });
  if (bad.length > 0)
    throw new FlixwrapError("recipe-releases", {
      what: "cannot read the list of releases",
      wanted: "NAME VERSION on each line",
      items: bad,
    });
  return wanted;
}

function parseYamlList(text: string, file: string): WantedRelease[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset = 0): string => `${file}:${lines.linePos(offset).line}`;
  const [first] = document.errors;
  if (first !== undefined)
    throw new FlixwrapError("recipe-releases", {
      what: "this is not YAML",
      where: place(first.pos[0]),
      got: first.message.split("\n")[0]!,
    });
  if (!isSeq(document.contents))
    throw new FlixwrapError("recipe-releases", {
      what: "cannot read the list of releases",
      where: file,
      wanted: "a list",
    });
  return document.contents.items.flatMap((item): WantedRelease[] => {
    const where = place((item as { range?: [number, number, number] }).range?.[0]);
    if (isScalar(item)) return parseLines(String(item.value), file).map((one) => ({ ...one, where }));
    const value = (isMap(item) ? item.toJSON() : {}) as {
      name?: unknown;
      version?: unknown;
      options?: Record<string, unknown>;
    };
    if (typeof value.name === "string" && typeof value.version === "string") {
      const options = Object.fromEntries(Object.entries(value.options ?? {}).map(([name, one]) => [name, String(one)]));
      return [{ name: value.name, version: value.version, where, ...(value.options !== undefined && { options }) }];
    }
    throw new FlixwrapError("recipe-releases", {
      what: "cannot read the list of releases",
      where,
      wanted: "`NAME VERSION` or a map with name and version, both texts",
    });
  });
}
