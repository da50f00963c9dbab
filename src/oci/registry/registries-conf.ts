import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { parseReference, type RegistryReference } from "../reference.ts";
import { namesIn, readText } from "./config-files.ts";

/** Where an image may really be read from. */
export interface PullSource {
  readonly reference: RegistryReference;
  /** Plain HTTP and untrusted certificates are accepted. */
  readonly insecure: boolean;
}

interface Location {
  readonly location: string;
  readonly insecure: boolean;
}

/** One `[[registry]]` of containers-registries.conf(5), version 2. */
export interface RegistryRule extends Location {
  /** `host[:port][/path]` or `*.domain`. */
  readonly prefix: string;
  readonly blocked: boolean;
  readonly mirrors: readonly (Location & { readonly from: "all" | "digest-only" | "tag-only" })[];
}

/**
 * Mirrors first, then the place itself, by the rules of `registries.conf` and docker's `registry-mirrors`.
 * @throws FlixwrapError `oci-blocked`, `oci-bad-registries-conf`.
 */
export async function findSources(reference: RegistryReference, context: Context): Promise<readonly PullSource[]> {
  const own = { reference, insecure: false };
  const rules = await readRules(context.env);
  const rule = longestMatch(rules, reference);
  if (rule === undefined) return [...dockerMirrors(reference), own];
  if (rule.blocked) {
    throw new FlixwrapError("oci-blocked", {
      what: "registries.conf blocks this registry",
      where: `${reference.registry}/${reference.repository}`,
    });
  }
  const isPinned = reference.digest !== undefined;
  const mirrors = rule.mirrors.filter(({ from }) => from === "all" || (from === "digest-only") === isPinned);
  return [...mirrors, rule].map(({ location, insecure }) => ({
    reference: location === "" ? reference : relocate(reference, rule.prefix, location),
    insecure,
  }));
}

const nameOf = ({ registry, repository }: RegistryReference): string => `${registry}/${repository}`;

function longestMatch(rules: readonly RegistryRule[], reference: RegistryReference): RegistryRule | undefined {
  const name = nameOf(reference);
  return rules
    .filter(({ prefix }) =>
      prefix.startsWith("*.")
        ? reference.registry.replace(/:\d+$/, "").endsWith(prefix.slice(1))
        : name === prefix || name.startsWith(`${prefix}/`),
    )
    .sort((a, b) => b.prefix.length - a.prefix.length)[0];
}

/** The part of the name that the prefix covers becomes the location; the rest, tag and digest stay. */
function relocate(reference: RegistryReference, prefix: string, location: string): RegistryReference {
  const covered = prefix.startsWith("*.") ? reference.registry : prefix;
  const name = `${location}${nameOf(reference).slice(covered.length)}`;
  const slash = name.indexOf("/");
  // Checked by the grammar of names; `docker://` keeps anything from being taken for a path.
  const checked = parseReference(`docker://${name.slice(0, slash)}/${name.slice(slash + 1)}`);
  if (slash < 1 || checked.kind !== "registry") throw badConf(location, "a location that is no registry");
  return { ...reference, registry: name.slice(0, slash), repository: name.slice(slash + 1) };
}

async function readRules(env: Context["env"]): Promise<RegistryRule[]> {
  const home = env.XDG_CONFIG_HOME ?? (env.HOME === undefined ? undefined : join(env.HOME, ".config"));
  const user = home === undefined ? undefined : join(home, "containers/registries.conf");
  const main = env.CONTAINERS_REGISTRIES_CONF ?? env.REGISTRIES_CONFIG_PATH;
  const first = main === undefined ? [user, "/etc/containers/registries.conf"] : [main];
  const texts: { path: string; text: string }[] = [];
  for (const path of first) {
    const text = path === undefined ? undefined : readText(path);
    if (path === undefined || text === undefined) continue;
    texts.push({ path, text });
    break;
  }
  // Drop-ins come on top; the user's after the system's.
  for (const folder of main === undefined ? ["/etc/containers/registries.conf.d", user && `${user}.d`] : []) {
    if (!folder) continue;
    for (const name of namesIn(folder).filter((one) => one.endsWith(".conf"))) {
      const text = readText(join(folder, name));
      if (text !== undefined) texts.push({ path: join(folder, name), text });
    }
  }
  const rules = new Map<string, RegistryRule>();
  for (const { path, text } of texts) {
    if (!text.includes("registry")) continue;
    for (const rule of await parseRules(text, path)) rules.set(rule.prefix, rule);
  }
  return [...rules.values()];
}

/**
 * The rules of one file of registries.conf(5).
 * @throws FlixwrapError `oci-bad-registries-conf`, for version 1 of the format, too.
 */
export async function parseRules(text: string, path: string): Promise<RegistryRule[]> {
  const { parse } = await import("smol-toml");
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (cause) {
    throw badConf(path, (cause as Error).message.split("\n")[0]!);
  }
  const tables = document.registry;
  if (tables === undefined) return [];
  if (!Array.isArray(tables))
    throw badConf(path, "version 1 of its format, which has [registries] instead of [[registry]]");
  return tables.map((table: Record<string, unknown>) => {
    const location = wordOf(table.location);
    const prefix = wordOf(table.prefix) || location;
    if (prefix === "") throw badConf(path, "a [[registry]] with neither prefix nor location");
    const digestOnly = table["mirror-by-digest-only"] === true;
    const mirrors = Array.isArray(table.mirror) ? (table.mirror as Record<string, unknown>[]) : [];
    return {
      prefix,
      location: location === prefix ? "" : location,
      insecure: table.insecure === true,
      blocked: table.blocked === true,
      mirrors: mirrors.map((mirror) => {
        const from = wordOf(mirror["pull-from-mirror"]);
        if (!["", "all", "digest-only", "tag-only"].includes(from)) throw badConf(path, `pull-from-mirror = ${from}`);
        return {
          location: wordOf(mirror.location),
          insecure: mirror.insecure === true,
          from: digestOnly ? "digest-only" : ((from || "all") as "all"),
        };
      }),
    };
  });
}

const wordOf = (value: unknown): string => (typeof value === "string" ? value.replace(/\/+$/, "") : "");

/** docker has mirrors for its own registry only. */
function dockerMirrors(reference: RegistryReference): PullSource[] {
  if (reference.registry !== "docker.io") return [];
  let settings: { "registry-mirrors"?: unknown };
  try {
    settings = JSON.parse(readFileSync("/etc/docker/daemon.json", "utf8")) as typeof settings;
  } catch {
    return [];
  }
  const mirrors = Array.isArray(settings["registry-mirrors"]) ? settings["registry-mirrors"] : [];
  return mirrors
    .filter((mirror): mirror is string => typeof mirror === "string" && URL.canParse(mirror))
    .map((mirror) => new URL(mirror))
    .map((url) => ({ reference: { ...reference, registry: url.host }, insecure: url.protocol === "http:" }));
}

const badConf = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-bad-registries-conf", { what: "cannot use registries.conf", where, got });
