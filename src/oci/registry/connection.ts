import type { Context } from "../../core/context.ts";
import { defined } from "../../core/defined.ts";
import { FlixwrapError, interrupted } from "../../core/errors.ts";
import { discard, openHttp, type HttpAnswer } from "../network/http.ts";
import {
  parseRetryAfter,
  Passing,
  startRetries,
  usualRetries,
  withRetries,
  type Retries,
  type RetryPolicy,
} from "../network/retry.ts";
import { wordReference, type RegistryReference } from "../reference.ts";
import { denied, openAuthorization } from "./authorization.ts";
import { parseChallenges } from "./challenge.ts";
import { findCredentials, parseCredentials } from "./credentials.ts";
import { findRegistryEndpoint } from "./endpoint.ts";
import { explainFailure, readProblem } from "./errors.ts";
import { findTrust } from "./trust.ts";

/** How a registry is spoken to. */
export interface RegistryOptions {
  /** False accepts any certificate, and plain HTTP. */
  readonly tlsVerify?: boolean;
  /** A file of certificate authorities beside the usual ones. */
  readonly caFile?: string;
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stall?: number;
  /** `USER:PASSWORD`; wins over the user's files. */
  readonly creds?: string;
  readonly retries?: RetryPolicy;
}

/** One repository of one registry: requests with redirects, authorization and repetition. */
export interface RegistryConnection {
  /** The API's host, with its port if that is not the usual one. */
  readonly host: string;
  urlOf(kind: "manifests" | "blobs", name: string): URL;
  /**
   * A URL that the registry or an image names.
   * @throws FlixwrapError `oci-forbidden-address` unless it is https, or http where that is accepted.
   */
  foreignUrl(location: string): URL;
  /**
   * One exchange; the answer's status is 200 or 206.
   * @throws FlixwrapError `oci-not-found`, `oci-denied`, `oci-forbidden-address`, `oci-registry`;
   *   {@link Passing} and the system's errors, which {@link RegistryConnection.explain} takes.
   */
  request(method: "GET" | "HEAD", url: URL, headers?: Readonly<Record<string, string>>): Promise<HttpAnswer>;
  /** Repeats `attempt` while its failures may pass. */
  patiently<T>(attempt: () => Promise<T>): Promise<T>;
  startRetries(): Retries;
  /** A failed exchange as an error for people, as {@link Passing} when another try may help. */
  explain(error: unknown): unknown;
  close(): void;
}

const MAX_REDIRECTS = 10;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Finds the registry's endpoint; who we are is asked for when the registry asks. */
export async function openConnection(
  reference: RegistryReference,
  context: Context,
  options: RegistryOptions,
): Promise<RegistryConnection> {
  const { signal } = context;
  const given = options.creds === undefined ? undefined : parseCredentials(options.creds);
  const policy = options.retries ?? usualRetries;
  const client = openHttp({
    trust: () => findTrust(reference.registry, context.env, options),
    env: context.env,
    ...defined({ stall: options.stall }),
  });
  const found = await findRegistryEndpoint(reference.registry, options, (url, most) =>
    client.send(url, { reach: most, signal }),
  );
  const { base, ownReach } = found;
  let { reach } = found;
  const insecure = base.protocol === "http:" || options.tlsVerify === false;
  const authorization = openAuthorization({
    http: client,
    repository: reference.repository,
    credentials: async () => given ?? (await findCredentials(reference, context)),
    reach: () => reach,
    insecure,
    signal,
  });
  const explain = (error: unknown): unknown => (signal.aborted ? interrupted(error) : explainFailure(error, base.host));

  return {
    host: base.host,
    urlOf: (kind, name) => new URL(`/v2/${reference.repository}/${kind}/${name}`, base),
    foreignUrl: (location) => redirectTarget(location, base, insecure),
    async request(method, url, headers = {}) {
      let target = url;
      for (let hops = 0, refusals = 0; hops <= MAX_REDIRECTS;) {
        // Secrets go to the registry itself only: a redirect leads to a storage that has its own in the URL.
        const own = target.origin === base.origin;
        const secret = own ? authorization.header() : undefined;
        const answer = await client.send(target, {
          method,
          headers: { ...headers, ...defined({ authorization: secret }) },
          reach: target.hostname === base.hostname ? ownReach : reach,
          signal,
        });
        const { status, headers: received, from } = answer;
        // Its name may have told more addresses than the one that answers, or others before.
        if (own && from !== undefined && from < reach) reach = from;
        if (status === 200 || status === 206) return answer;
        if (REDIRECTS.includes(status) && received.location !== undefined) {
          discard(answer);
          target = redirectTarget(received.location, target, insecure);
          hops += 1;
        } else if (wantsToken(answer) && own && refusals < 2 && (await authorization.answer(answer))) {
          refusals += 1;
        } else {
          throw await refusedAnswer(answer, wordReference(reference));
        }
      }
      throw new FlixwrapError("oci-registry", { what: "too many redirects", where: url.href });
    },
    patiently: async (attempt) =>
      await withRetries(startRetries(policy, signal), async () => {
        try {
          return await attempt();
        } catch (error) {
          throw explain(error);
        }
      }),
    startRetries: () => startRetries(policy, signal),
    explain,
    close: () => client.close(),
  };
}

/** 401, or the 403 of a server for which our token does not reach far enough (RFC 6750, 3.1). */
const wantsToken = ({ status, headers }: HttpAnswer): boolean =>
  status === 401 || (status === 403 && isInsufficient(headers["www-authenticate"]));

const isInsufficient = (challenge: string | undefined): boolean =>
  parseChallenges(challenge ?? "").some(({ parameters }) => parameters.error === "insufficient_scope");

function redirectTarget(location: string, from: URL, insecure: boolean): URL {
  const target = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  const safe = target?.protocol === "https:" || (insecure && target?.protocol === "http:");
  if (target !== undefined && safe) return target;
  throw new FlixwrapError("oci-forbidden-address", {
    what: "the registry sends us to a place that is not safe",
    got: location,
    wanted: "an https URL",
  });
}

async function refusedAnswer(answer: HttpAnswer, where: string): Promise<Error> {
  const { status, headers } = answer;
  const got = await readProblem(answer);
  if (status === 404) return new FlixwrapError("oci-not-found", { what: "no such image", where, ...defined({ got }) });
  if (status === 401 || status === 403) {
    const reason = isInsufficient(headers["www-authenticate"]) ? "what we may do there is not enough" : undefined;
    return denied(where, [got, reason].filter(Boolean).join(", ") || `status ${status}`);
  }
  const limited = status === 429;
  const error = new FlixwrapError(limited ? "oci-rate-limit" : "oci-registry", {
    what: limited ? "the registry limits how much may be pulled" : `the registry answers with status ${status}`,
    where,
    ...defined({ got }),
    ...(limited && { hint: "wait, or log in with docker or podman login: known users may pull more" }),
  });
  const passing = limited || status === 408 || (status >= 500 && status !== 501 && status !== 505);
  return passing ? new Passing(error, { after: parseRetryAfter(headers["retry-after"], Date.now()) }) : error;
}
