import { FlixwrapError } from "../../core/errors.ts";
import { parseChallenges, type Challenge } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import { discard, readBody, type HttpAnswer, type HttpClient } from "../network/http.ts";
import type { Reach } from "../network/address.ts";

/** Who we are to one registry, for reading one repository. */
export interface Authorization {
  /** Value of the Authorization header, once a challenge was answered. */
  header(): string | undefined;
  /**
   * Learns from a 401 what to send; false when there is nothing (more) to try.
   * @throws FlixwrapError `oci-denied`, `oci-forbidden-address`.
   */
  answer(refusal: HttpAnswer): Promise<boolean>;
}

/** Whom an {@link Authorization} speaks to, and by what right. */
export interface AuthorizationOptions {
  readonly http: HttpClient;
  readonly repository: string;
  /** Called at most once, and only when the server asks who we are. */
  readonly credentials: () => Promise<Credentials | undefined>;
  readonly reach: () => Reach;
  /** Whether secrets may travel over plain HTTP. */
  readonly insecure: boolean;
  readonly signal: AbortSignal;
}

const MAX_TOKEN_ANSWER = 1 << 20;
/** A token is asked for again at most so often in one pull. */
const MAX_TOKENS = 64;

/** An authorization that has not been asked for anything yet. */
export function openAuthorization(options: AuthorizationOptions): Authorization {
  let header: string | undefined;
  let credentials: Promise<Credentials | undefined> | undefined;
  let pending: Promise<string | undefined> | undefined;
  let tokens = 0;

  const learn = async (challenges: readonly Challenge[], where: string): Promise<string | undefined> => {
    const known = await (credentials ??= options.credentials());
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer?.parameters.realm !== undefined) {
      tokens += 1;
      if (tokens > MAX_TOKENS) throw denied(where, "it wants a new token again and again");
      return `Bearer ${await fetchToken(bearer, known, options)}`;
    }
    const wantsBasic = challenges.some(({ scheme }) => scheme === "basic");
    return wantsBasic && known?.kind === "password" ? basic(known) : undefined;
  };

  return {
    header: () => header,
    async answer(refusal) {
      const sent = header;
      const challenges = parseChallenges(refusal.headers["www-authenticate"] ?? "");
      discard(refusal);
      // Several downloads may be refused at once when a token ends: one of them gets the new one.
      pending ??= learn(challenges, refusal.url.host).finally(() => {
        pending = undefined;
      });
      header = await pending;
      return header !== undefined && (header !== sent || header.startsWith("Bearer "));
    },
  };
}

const basic = ({ username, password }: Credentials & { kind: "password" }): string =>
  `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;

/** Distribution's token protocol, and OAuth2's refresh when we hold an identity token. */
async function fetchToken(
  { parameters }: Challenge,
  credentials: Credentials | undefined,
  options: AuthorizationOptions,
): Promise<string> {
  const realm = parseRealm(parameters.realm!, options.insecure);
  const scope = parameters.scope ?? `repository:${options.repository}:pull`;
  const service = parameters.service === undefined ? {} : { service: parameters.service };
  const send = { reach: options.reach(), signal: options.signal };
  let answer: HttpAnswer;
  if (credentials?.kind === "identity") {
    const form = { grant_type: "refresh_token", client_id: "flixwrap", refresh_token: credentials.token };
    answer = await options.http.send(realm, {
      ...send,
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ ...form, ...service, scope }).toString(),
    });
  } else {
    for (const [name, value] of Object.entries(service)) realm.searchParams.set(name, value);
    for (const one of scope.split(" ")) realm.searchParams.append("scope", one);
    if (credentials !== undefined) realm.searchParams.set("account", credentials.username);
    const headers = credentials === undefined ? {} : { authorization: basic(credentials) };
    answer = await options.http.send(realm, { ...send, headers });
  }
  if (answer.status !== 200) {
    discard(answer);
    if (answer.status >= 500 || answer.status === 429) {
      throw Object.assign(new Error(`token server answered ${answer.status}`), { code: "ETOKEN" });
    }
    throw denied(realm.host, `status ${answer.status}${credentials === undefined ? " without credentials" : ""}`);
  }
  const token = readToken(await readBody(answer, MAX_TOKEN_ANSWER));
  if (token === undefined) throw denied(realm.host, "an answer without a token");
  return token;
}

function readToken(bytes: Buffer): string | undefined {
  try {
    const { token, access_token: access } = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
    const found = token ?? access;
    // It becomes a header's value: nothing else than its characters may be in it.
    return typeof found === "string" && /^[\x21-\x7e]+$/.test(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

function parseRealm(text: string, insecure: boolean): URL {
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm?.protocol === "https:" || (insecure && realm?.protocol === "http:")) return realm;
  throw new FlixwrapError("oci-forbidden-address", {
    what: "the registry wants its token fetched from a place that is not safe",
    got: text,
    wanted: "an https URL",
  });
}

/** The error for an image that the registry does not give us. */
export const denied = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-denied", {
    what: "the registry does not let us read this image",
    where,
    got,
    hint: "check the name, and log in with docker or podman login, or use --creds USER:PASSWORD",
  });
