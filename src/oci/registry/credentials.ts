import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import type { RegistryReference } from "../reference.ts";
import { currentUser } from "../../host/user.ts";

/** What to say who we are with: a password, or a token that buys tokens. */
export type Credentials =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  | { readonly kind: "identity"; readonly token: string };

/** `USER:PASSWORD` of `--creds`. */
export function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(":");
  if (colon < 1) {
    throw new FlixwrapError("oci-bad-credentials", { what: "--creds wants USER:PASSWORD" });
  }
  return { kind: "password", username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/**
 * What the user's files know of a repository, most specific key first; undefined means anonymous. Order of
 * files: containers-auth.json(5), then Docker's.
 * @throws FlixwrapError `oci-bad-credentials` for a file that cannot be read or a helper that fails.
 */
export async function findCredentials(
  reference: RegistryReference,
  context: Context,
): Promise<Credentials | undefined> {
  for (const path of credentialFiles(context.env)) {
    const config = await readConfig(path);
    const found = config && (await lookUp(config, reference, path, context));
    if (found !== undefined) return found;
  }
  return undefined;
}

function credentialFiles(env: Context["env"]): string[] {
  if (env.REGISTRY_AUTH_FILE !== undefined) return [env.REGISTRY_AUTH_FILE];
  const home = env.HOME;
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/containers/${currentUser().uid}`;
  return [
    join(runtime, env.XDG_RUNTIME_DIR === undefined ? "" : "containers", "auth.json"),
    ...(env.XDG_CONFIG_HOME === undefined ? [] : [join(env.XDG_CONFIG_HOME, "containers", "auth.json")]),
    ...(home === undefined ? [] : [join(home, ".config", "containers", "auth.json")]),
    ...(env.DOCKER_CONFIG === undefined ? [] : [join(env.DOCKER_CONFIG, "config.json")]),
    ...(home === undefined ? [] : [join(home, ".docker", "config.json"), join(home, ".dockercfg")]),
  ];
}

interface AuthConfig {
  readonly auths: Readonly<Record<string, AuthEntry>>;
  readonly credHelpers: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

interface AuthEntry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

async function readConfig(path: string): Promise<AuthConfig | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return undefined;
    throw badFile(path, error);
  }
  try {
    const json = (JSON.parse(text) ?? {}) as Partial<AuthConfig>;
    // The oldest file, ~/.dockercfg, is the map itself.
    const auths = path.endsWith(".dockercfg") ? (json as AuthConfig["auths"]) : (json.auths ?? {});
    return { ...json, auths, credHelpers: json.credHelpers ?? {} };
  } catch (error) {
    throw badFile(path, error);
  }
}

const badFile = (where: string, cause: unknown): FlixwrapError =>
  new FlixwrapError("oci-bad-credentials", { what: "cannot read the credentials", where }, { cause });

async function lookUp(
  config: AuthConfig,
  reference: RegistryReference,
  path: string,
  context: Context,
): Promise<Credentials | undefined> {
  const keys = keysOf(reference);
  for (const key of keys) {
    const helper = config.credHelpers[key];
    if (helper !== undefined) return await askHelper(helper, key, context);
  }
  const entries = new Map(Object.entries(config.auths).map(([key, entry]) => [bareKey(key), entry]));
  for (const key of keys) {
    const known = readEntry(entries.get(bareKey(key)), path);
    if (known !== undefined) return known;
  }
  if (config.credsStore === undefined) return undefined;
  return await askHelper(config.credsStore, serverOf(reference), context);
}

/** `host/ns/repository`, `host/ns`, `host`; docker.io also under its historical name. */
function keysOf(reference: RegistryReference): string[] {
  const parts = [reference.registry, ...reference.repository.split("/")];
  const keys = parts.map((_, n) => parts.slice(0, parts.length - n).join("/"));
  return reference.registry === "docker.io" ? [...keys, serverOf(reference), "index.docker.io"] : keys;
}

const serverOf = ({ registry }: RegistryReference): string =>
  registry === "docker.io" ? "https://index.docker.io/v1/" : registry;

const bareKey = (key: string): string =>
  key
    .replace(/^https?:\/\//, "")
    .replace(/\/v[12]\/?$/, "")
    .replace(/\/+$/, "");

function readEntry(entry: AuthEntry | undefined, path: string): Credentials | undefined {
  if (entry === undefined) return undefined;
  if (entry.identitytoken) return { kind: "identity", token: entry.identitytoken };
  if (entry.auth) {
    const text = Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "");
    if (!text.includes(":")) throw badFile(path, new Error("an auth entry that is no base64 of USER:PASSWORD"));
    return parseCredentials(text);
  }
  if (!entry.username) return undefined;
  return { kind: "password", username: entry.username, password: entry.password ?? "" };
}

/** Milliseconds a credential helper may take. */
const HELPER_TIME = 10_000;

/** Runs `docker-credential-NAME get`; the server's name goes in, and the secret comes out, by pipes only. */
async function askHelper(name: string, server: string, context: Context): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (got: string): FlixwrapError =>
    new FlixwrapError("oci-bad-credentials", { what: `the credential helper ${program} failed`, where: server, got });
  if (!/^[\w.-]+$/.test(name)) throw fail("a name that is no program's");
  const { status, output } = await new Promise<{ status: number | string; output: string }>((resolve) => {
    const child = spawn(program, ["get"], {
      stdio: ["pipe", "pipe", "ignore"],
      env: context.env,
      timeout: HELPER_TIME,
      signal: context.signal,
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString("utf8")).slice(0, 1 << 20);
    });
    child.stdin.on("error", () => undefined);
    child.once("error", (error) => resolve({ status: error.message, output: "" }));
    child.once("close", (code, signal) => resolve({ status: code ?? `${signal}`, output: text }));
    child.stdin.end(server);
  });
  if (/credentials not found/i.test(output)) return undefined;
  if (status !== 0) throw fail(typeof status === "number" ? `exit status ${status}` : status);
  let answer: { Username?: string; Secret?: string };
  try {
    answer = JSON.parse(output) as typeof answer;
  } catch {
    throw fail("an answer that is no JSON");
  }
  if (!answer.Username || typeof answer.Secret !== "string") return undefined;
  return answer.Username === "<token>"
    ? { kind: "identity", token: answer.Secret }
    : { kind: "password", username: answer.Username, password: answer.Secret };
}
