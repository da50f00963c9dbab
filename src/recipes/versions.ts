import { parse as parseYaml } from "yaml";
import { FlixwrapError } from "../core/errors.ts";
import type { Document, VersionRules, VersionSource } from "./format.ts";
import { selectValues } from "./select.ts";
import { branchOf, compareVersions, nearestVersions, sortVersions } from "./version-order.ts";
import type { Web } from "./web.ts";

/** What the version rules need from outside. */
export interface VersionSources {
  readonly web: Web;
  /** What a command prints inside an image; absent where no image can be run. */
  readonly printed?: (image: string, run: string) => Promise<string>;
}

/** A project with more releases than this is asked for its newest ones only. */
const mostPages = 20;

/**
 * The versions upstream offers, newest first, in the recipe's spelling.
 * @throws FlixwrapError `recipe-no-versions` when the source has none that fit the rules
 */
export async function listVersions(rules: VersionRules, sources: VersionSources): Promise<string[]> {
  const names = await namesOf(rules.source, rules, sources);
  const versions = sortVersions(names.flatMap((name) => versionOf(name, rules)));
  if (versions.length > 0) return versions;
  throw new FlixwrapError("recipe-no-versions", {
    what: "upstream's list has no version that fits the recipe",
    where: describeSource(rules.source),
    got: names.length === 0 ? "an empty list" : `${names.length} names such as ${names[0]}`,
    wanted: rules.pattern,
  });
}

/** The versions that `latest` means, newest first: one, or one for each maintained branch. */
export async function latestVersions(rules: VersionRules, sources: VersionSources): Promise<string[]> {
  const versions = await listVersions(rules, sources);
  if (rules.latest === undefined) return versions.slice(0, 1);
  const { per, keep, supported } = rules.latest;
  const heads = new Map<string, string>();
  for (const version of versions) {
    const branch = branchOf(version, per);
    if (!heads.has(branch)) heads.set(branch, version);
  }
  const wanted = supported && new Set((await documentNames(supported, sources.web)).map((name) => branchOf(name, per)));
  return [...heads]
    .filter(([branch]) => wanted === undefined || wanted.has(branch))
    .map(([, version]) => version)
    .slice(0, keep);
}

/** Refuses a version, naming the nearest that upstream has. */
export async function refuseVersion(
  name: string,
  rules: VersionRules,
  version: string,
  sources: VersionSources,
): Promise<never> {
  // The list is a courtesy: when it cannot be had, the version is still unknown.
  const known = await listVersions(rules, sources).catch(() => []);
  throw new FlixwrapError("recipe-unknown-version", {
    what: `${name} has no version ${version}`,
    ...(known.length > 0 && {
      hint: `near it are ${nearestVersions(version, known).join(", ")}; the newest is ${known[0]}`,
    }),
  });
}

/** A name of upstream's list in the recipe's spelling; none when the rules drop it. */
export function versionOf(name: string, rules: VersionRules): string[] {
  if (rules.except !== undefined && new RegExp(rules.except).test(name)) return [];
  const match = rules.match === undefined ? [name, name] : new RegExp(rules.match).exec(name);
  if (match === null) return [];
  const version = spellVersion(match[1] ?? match[0] ?? "", rules);
  if (version === undefined) return [];
  return rules.from !== undefined && compareVersions(version, rules.from) < 0 ? [] : [version];
}

/** `v1.2` and `1.2` as the recipe writes them; undefined when it is no version of this recipe's shape. */
export function spellVersion(text: string, rules: VersionRules): string | undefined {
  const number = text.replace(/^v(?=\d)/, "");
  return new RegExp(`^(?:${rules.pattern})$`).test(number) ? rules.prefix + number : undefined;
}

// oxlint-disable-next-line typescript/consistent-return -- it does not see that the switch is exhaustive; tsc does
async function namesOf(source: VersionSource, rules: VersionRules, sources: VersionSources): Promise<string[]> {
  switch (source.kind) {
    case "github": {
      const api = `https://api.github.com/repos/${source.repository}/${source.list}?per_page=100`;
      const entries = await pagedList(api, sources.web);
      if (source.list === "tags") return selectValues(entries, "[].name");
      const releases = entries.filter((entry) => !isTrue(entry, "draft") && !isTrue(entry, "prerelease"));
      return selectValues(releases, "[].tag_name");
    }
    case "gitlab": {
      const api = `https://${source.host}/api/v4/projects/${source.project}/repository/tags?per_page=100`;
      return selectValues(await pagedList(api, sources.web), "[].name");
    }
    case "hashicorp":
      return hashicorpReleases(source.product, sources.web);
    case "document":
      return documentNames(source, sources.web);
    case "page":
      return matches(await required(source.page, sources.web), rules.match ?? "");
    case "image": {
      if (sources.printed === undefined) {
        throw new FlixwrapError("recipe-no-images", {
          what: "these versions are known by an image that must run",
          where: source.image,
        });
      }
      return matches(await sources.printed(source.image, source.run), rules.match ?? "");
    }
    case "fixed":
      return [...source.versions];
  }
}

/** The whole matches, so that {@link versionOf} finds the group again. */
const matches = (text: string, pattern: string): string[] =>
  [...text.matchAll(new RegExp(pattern, "gm"))].map((match) => match[0]);

async function required(address: string, web: Web): Promise<string> {
  const page = await web.page(address);
  if (page !== undefined) return page.text;
  throw new FlixwrapError("recipe-not-found", { what: "upstream's list of versions is not there", where: address });
}

/** Tags of the releases that a repository of built extensions has: `docker-24.0.9`. */
export async function listPublished(repository: string, web: Web): Promise<ReadonlySet<string>> {
  const api = `https://api.github.com/repos/${repository}/releases?per_page=100`;
  return new Set(selectValues(await pagedList(api, web), "[].tag_name"));
}

/** The versions of one recipe among published tags, newest first. */
export function publishedVersions(name: string, rules: VersionRules, tags: Iterable<string>): string[] {
  const own = [...tags].filter((tag) => tag.startsWith(`${name}-`)).map((tag) => tag.slice(name.length + 1));
  return sortVersions(own.filter((version) => spellVersion(version, rules) === version));
}

/** All elements of a paged JSON list: the `Link` header leads on (RFC 8288). */
async function pagedList(first: string, web: Web): Promise<unknown[]> {
  const entries: unknown[] = [];
  let address: string | undefined = first;
  for (let page = 0; address !== undefined && page < mostPages; page++) {
    const answer = await web.page(address, { accept: "application/json" });
    if (answer === undefined)
      throw new FlixwrapError("recipe-not-found", { what: "upstream's list of versions is not there", where: address });
    const value = parseJson(answer.text, address);
    if (!Array.isArray(value)) throw new FlixwrapError("recipe-list", { what: "this is no list", where: address });
    for (const entry of value as unknown[]) entries.push(entry);
    address = answer.next;
  }
  return entries;
}

/** The API pages by the time of the last entry, 20 at most (its documentation's own limit). */
async function hashicorpReleases(product: string, web: Web): Promise<string[]> {
  const names: string[] = [];
  let after = "";
  for (let page = 0; page < mostPages; page++) {
    const address = `https://api.releases.hashicorp.com/v1/releases/${product}?limit=20${after}`;
    const entries = parseJson(await required(address, web), address);
    if (!Array.isArray(entries)) throw new FlixwrapError("recipe-list", { what: "this is no list", where: address });
    const released = entries.filter(
      (entry: unknown) => !isTrue(entry, "is_prerelease") && selectValues(entry, "license_class")[0] !== "enterprise",
    );
    names.push(...selectValues(released, "[].version"));
    const last = selectValues(entries.at(-1), "timestamp_created")[0];
    if (entries.length < 20 || last === undefined) break;
    after = `&after=${encodeURIComponent(last)}`;
  }
  return names;
}

async function documentNames(source: Document, web: Web): Promise<string[]> {
  const addresses =
    source.branches === undefined ? [source.document] : await branchAddresses(source, source.branches, web);
  const names: string[] = [];
  for (const address of addresses) {
    const page = await web.page(address);
    // A branch that is announced but has no list yet is no error as long as another one has.
    if (page === undefined && source.branches !== undefined) continue;
    names.push(...selectValues(parseDocument(page?.text ?? (await required(address, web)), address), source.select));
  }
  return names;
}

async function branchAddresses(
  source: Document,
  branches: NonNullable<Document["branches"]>,
  web: Web,
): Promise<string[]> {
  const found = matches(await required(branches.page, web), branches.match).map(
    (text) => new RegExp(branches.match).exec(text)?.[1] ?? text,
  );
  return sortVersions(found)
    .filter((branch) => branches.from === undefined || compareVersions(branch, branches.from) >= 0)
    .map((branch) => source.document.replaceAll("{branch}", branch));
}

const isTrue = (entry: unknown, key: string): boolean =>
  typeof entry === "object" && entry !== null && (entry as Record<string, unknown>)[key] === true;

function parseJson(text: string, address: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw unreadable(address, error);
  }
}

/** JSON is YAML; with the failsafe schema every value stays a text, so that 1.30 is not 1.3. */
function parseDocument(text: string, address: string): unknown {
  try {
    return parseYaml(text, { schema: "failsafe", maxAliasCount: 50 });
  } catch (error) {
    throw unreadable(address, error);
  }
}

function unreadable(address: string, error: unknown): FlixwrapError {
  const got = (error as Error).message.split("\n")[0]!;
  return new FlixwrapError(
    "recipe-list",
    { what: "upstream's list cannot be read", where: address, got },
    { cause: error },
  );
}

// oxlint-disable-next-line typescript/consistent-return -- it does not see that the switch is exhaustive; tsc does
function describeSource(source: VersionSource): string {
  switch (source.kind) {
    case "github":
      return `${source.list} of ${source.repository}`;
    case "gitlab":
      return `tags of ${source.host}/${source.project}`;
    case "hashicorp":
      return `releases of ${source.product}`;
    case "document":
      return source.document;
    case "page":
      return source.page;
    case "image":
      return source.image;
    case "fixed":
      return "the recipe";
  }
}
