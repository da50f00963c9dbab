import { findArchitecture } from "../core/architectures.ts";
import { defined } from "../core/defined.ts";
import { parseCondition } from "./condition.ts";
import type {
  Check,
  DownloadPart,
  Enable,
  ImagePart,
  Part,
  Placement,
  RecipeFile,
  RecipeOption,
  Verification,
  VersionRules,
  VersionSource,
} from "./format.ts";

/** A mistake that a JSON Schema cannot express; `path` leads to it in the YAML. */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type Map = Readonly<Record<string, unknown>>;

/** A recipe as the schema lets it be; here are the keys that this file takes apart. */
type RawRecipe = Map & {
  readonly versions?: Map;
  readonly parts?: readonly Map[];
  readonly enable?: readonly (string | Enable)[];
};

/**
 * The short forms of a recipe that fits the schema made uniform, and the mistakes that only show here. Names
 * that an option or variable may not take are those the engine fills in itself.
 */
export function normaliseRecipe(value: unknown): { file: RecipeFile; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const raw = value as RawRecipe;
  const options = mapValues(raw["options"], (option, name): RecipeOption => {
    if (reservedNames.has(name))
      problems.push({ path: ["options", name], message: `${name} is a name of flixwrap's own` });
    const path = ["options", name, "versions"];
    const given = option["versions"] as Map | undefined;
    const versions = given && versionRules(given, path, problems);
    return { ...(option as unknown as RecipeOption), ...defined({ versions }) };
  });
  for (const name of Object.keys(raw["variables"] ?? {})) {
    if (reservedNames.has(name))
      problems.push({ path: ["variables", name], message: `${name} is a name of flixwrap's own` });
  }
  const versions = raw.versions && versionRules(raw.versions, ["versions"], problems);
  const parts = raw.parts?.map((part, at) => normalisePart(part, ["parts", at], problems));
  const enable = raw.enable?.map((one): Enable => (typeof one === "string" ? { unit: one } : one));
  const hostLibraries = list(raw["host-libraries"]);
  const file = { ...raw, hostLibraries, ...defined({ versions, options, parts, enable }) } as unknown as RecipeFile;
  checkConditions(raw, [], problems);
  if (file.versions === undefined && file.parts !== undefined) {
    problems.push({ path: ["parts"], message: "a recipe with parts needs `versions`" });
  }
  return { file, problems };
}

/** Names that templates always have; see `values.ts`. */
export const builtInNames: readonly string[] = [
  "name",
  "version",
  "number",
  "major",
  "branch",
  "arch",
  "goarch",
  "uname",
];

/** Those, and the options of `bake` itself. */
const reservedNames: ReadonlySet<string> = new Set([
  ...builtInNames,
  ...`os format output output-file sysupdate epoch reload force-reload locked offline
      mirror jobs all plan matrix json help latest`.split(/\s+/),
]);

function versionRules(raw: Map, path: readonly (string | number)[], problems: Problem[]): VersionRules {
  const kinds = ["github", "gitlab", "page", "document", "hashicorp", "image", "fixed"].filter(
    (kind) => raw[kind] !== undefined,
  );
  if (kinds.length !== 1) {
    problems.push({
      path,
      message: `versions need exactly one source (github, gitlab, page, document, hashicorp, image, fixed), not ${kinds.length === 0 ? "none" : kinds.join(" and ")}`,
    });
  }
  for (const [key, needed] of [
    ["page", "match"],
    ["image", "match"],
    ["image", "run"],
    ["document", "select"],
  ] as const) {
    if (raw[key] !== undefined && raw[needed] === undefined)
      problems.push({ path, message: `versions: ${key} needs ${needed}` });
  }
  for (const key of ["match", "except", "pattern"]) {
    const problem = regexpProblem(raw[key]);
    if (problem !== undefined) problems.push({ path: [...path, key], message: `${key}: ${problem}` });
  }
  return {
    ...raw,
    source: versionSource(raw),
    prefix: (raw["prefix"] as "" | "v" | undefined) ?? "",
    pattern: (raw["pattern"] as string | undefined) ?? "[0-9]+(\\.[0-9]+)*",
  };
}

function versionSource(raw: Map): VersionSource {
  const text = (key: string): string => String(raw[key] ?? "");
  if (raw["github"] !== undefined) {
    return { kind: "github", repository: text("github"), list: raw["list"] === "tags" ? "tags" : "releases" };
  }
  if (raw["gitlab"] !== undefined) {
    const [host, ...project] = text("gitlab").split("/");
    return { kind: "gitlab", host: host!, project: project.join("/") };
  }
  if (raw["page"] !== undefined) return { kind: "page", page: text("page") };
  if (raw["hashicorp"] !== undefined) return { kind: "hashicorp", product: text("hashicorp") };
  if (raw["image"] !== undefined) return { kind: "image", image: text("image"), run: text("run") };
  if (raw["fixed"] !== undefined) return { kind: "fixed", versions: raw["fixed"] as string[] };
  return {
    kind: "document",
    document: text("document"),
    select: text("select"),
    ...("branches" in raw ? { branches: raw["branches"] } : {}),
  } as VersionSource;
}

function normalisePart(raw: Map, path: readonly (string | number)[], problems: Problem[]): Part {
  const files = placements(raw, path, problems);
  if (raw["image"] === undefined) {
    return {
      ...(raw as unknown as DownloadPart),
      kind: "download",
      verify: verification(raw, path, problems),
      inside: list(raw["inside"]),
      strip: Number(raw["strip"] ?? 0),
      files,
    };
  }
  if (raw["convert"] !== undefined && raw["entries"] === undefined) {
    problems.push({ path, message: "`convert` needs `entries`" });
  }
  if (raw["convert"] === undefined && files.length === 0) {
    problems.push({ path, message: "an image needs `convert` and `entries`, or `files`, or both" });
  }
  return {
    ...(raw as unknown as ImagePart),
    kind: "image",
    inputs: Object.entries((raw["inputs"] ?? {}) as Record<string, Map>).map(([to, input]) => ({
      to,
      download: String(input["download"]),
      verify: verification(input, [...path, "inputs", to], problems),
    })),
    entries: list(raw["entries"]),
    with: (raw["with"] ?? {}) as ImagePart["with"],
    files,
  };
}

function placements(raw: Map, path: readonly (string | number)[], problems: Problem[]): Placement[] {
  if (raw["to"] !== undefined && raw["files"] !== undefined)
    problems.push({ path, message: "`to` and `files` exclude each other" });
  if (raw["to"] !== undefined) {
    const mode = octal(raw["mode"] ?? "755", [...path, "mode"], problems);
    return [{ from: "*", to: String(raw["to"]), mode: mode ?? 0o755, except: [], optional: false, replace: {} }];
  }
  if (raw["image"] === undefined && raw["files"] === undefined)
    problems.push({ path, message: "a download needs `files` or `to`" });
  const rows = Object.entries((raw["files"] ?? {}) as Map);
  return rows.flatMap(([from, value]) =>
    (Array.isArray(value) ? value : [value]).map((one: string | Map): Placement => {
      const row: Map = typeof one === "string" ? { to: one } : one;
      const mode = octal(row["mode"], [...path, "files", from], problems);
      return {
        from: from.replace(/^\//, ""),
        to: String(row["to"]),
        ...(row["when"] === undefined ? {} : { when: String(row["when"]) }),
        ...defined({ mode }),
        except: list(row["except"]),
        optional: row["optional"] === true,
        replace: (row["replace"] ?? {}) as Record<string, string>,
      };
    }),
  );
}

function verification(raw: Map, path: readonly (string | number)[], problems: Problem[]): Verification {
  const { verify, unverified } = raw as { verify?: unknown; unverified?: string };
  if ((verify === undefined) === (unverified === undefined)) {
    problems.push({ path, message: "a download needs either `verify` or `unverified` with the reason" });
  }
  if (verify === undefined) return { kind: "unverified", reason: unverified ?? "" };
  return {
    kind: "checks",
    checks: (Array.isArray(verify) ? verify : [verify]).map((one: string | Map): Check => {
      if (typeof one === "string") return { kind: "github" };
      const digests = one["digests"] as Record<string, Record<string, string>> | undefined;
      if (digests === undefined) return { ...(one as { sums: string }), kind: "sums" };
      for (const names of Object.values(digests)) {
        for (const name of Object.keys(names)) {
          if (findArchitecture(name) === undefined)
            problems.push({ path, message: `digests: unknown architecture ${name}` });
        }
      }
      return { kind: "digests", digests };
    }),
  };
}

/** Every `when:` anywhere must be readable, so that a recipe's mistake shows before its version is baked. */
function checkConditions(value: unknown, path: readonly (string | number)[], problems: Problem[]): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, Array.isArray(value) ? Number(key) : key];
    if (key === "when" && typeof child === "string") {
      try {
        parseCondition(child);
      } catch (error) {
        problems.push({ path: at, message: (error as Error).message });
      }
    } else checkConditions(child, at, problems);
  }
}

function regexpProblem(source: unknown): string | undefined {
  if (source === undefined) return undefined;
  try {
    return new RegExp(String(source)).source === "" ? "is empty" : undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** YAML 1.2 reads 0755 as the decimal number 755, so the digits are what counts, not the number. */
function octal(value: unknown, path: readonly (string | number)[], problems: Problem[]): number | undefined {
  if (value === undefined) return undefined;
  const digits = String(value);
  if (/^0?[0-7]{3}$/.test(digits)) return Number.parseInt(digits, 8);
  problems.push({ path, message: `mode ${digits}: must be three octal digits such as 755` });
  return undefined;
}

const list = (value: unknown): string[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as string[]) : [String(value)];

function mapValues<T>(value: unknown, each: (item: Map, name: string) => T): Record<string, T> | undefined {
  if (value === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(value as Record<string, Map>).map(([name, item]) => [name, each(item, name)]),
  );
}
