import { isIP } from "node:net";
import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { LOOPBACK, NEVER, PUBLIC, reachOf, type Reach } from "./address.ts";
import { denied, openAuthorization } from "./authorization.ts";
import { parseChallenges } from "./challenge.ts";
import { findCredentials, parseCredentials } from "./credentials.ts";
import { checkDigest, digestOf, parseDigest, type Digest } from "./digest.ts";
import { discard, openHttp, readBody, type HttpAnswer } from "./http.ts";
import { MAX_MANIFEST, mediaTypes, type Descriptor } from "./manifest.ts";
import { wordReference, type RegistryReference } from "./reference.ts";
import { reachOfHost } from "./reach.ts";
import { findSources } from "./registries-conf.ts";
import { steadyChunks } from "./steady.ts";
import { findTrust } from "./trust.ts";
import { explainFailure, isDistrust, readProblem } from "./registry-errors.ts";
import { parseRetryAfter, Passing, startRetries, usualRetries, withRetries, type RetryPolicy } from "./retry.ts";
import type { ImageStore } from "./store.ts";

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

const MAX_REDIRECTS = 10;
/** Of one foreign layer. */
const MAX_PLACES = 8;
const ACCEPT = [...mediaTypes.indexes, ...mediaTypes.manifests].join(", ");

/**
 * Reads one repository of a registry (distribution-spec 1.1, "Pull"): from the first mirror that has the image, or
 * else from the registry itself.
 */
export async function openRegistry(
  reference: RegistryReference,
  context: Context,
  options: RegistryOptions = {},
): Promise<ImageStore> {
  const sources = await findSources(reference, context);
  for (const [n, { reference: place, insecure }] of sources.entries()) {
    const settings = insecure ? { ...options, tlsVerify: false } : options;
    const store = await openOne(place, context, settings);
    const description = `${reference.registry}/${reference.repository}`;
    if (n === sources.length - 1) return { ...store, description };
    try {
      const root = await store.root();
      return { ...store, description, root: async () => root };
    } catch (error) {
      store.close();
      if (context.signal.aborted) throw error;
      const message = `the mirror ${place.registry} is passed over: ${(error as Error).message.split("\n")[0]}`;
      context.emit({ kind: "notice", message });
    }
  }
  throw new FlixwrapError("oci-not-found", {
    what: "no place to read the image from",
    where: wordReference(reference),
  });
}

async function openOne(reference: RegistryReference, context: Context, options: RegistryOptions): Promise<ImageStore> {
  const { signal } = context;
  const given = options.creds === undefined ? undefined : parseCredentials(options.creds);
  const policy = options.retries ?? usualRetries;
  const where = wordReference(reference);
  const client = openHttp({
    trust: () => findTrust(reference.registry, context.env, options),
    env: context.env,
    ...defined({ stall: options.stall }),
  });
  const { base, reach, ownReach } = await findBase(reference.registry, options, (url, most) =>
    client.send(url, { reach: most, signal }),
  );
  const insecure = base.protocol === "http:" || options.tlsVerify === false;
  const authorization = openAuthorization({
    http: client,
    repository: reference.repository,
    credentials: async () => given ?? (await findCredentials(reference, context)),
    reach,
    insecure,
    signal,
  });

  /** One request with redirects and authorization; the answer's status is 200 or 206. */
  const request = async (url: URL, headers: Record<string, string>, method: "GET" | "HEAD"): Promise<HttpAnswer> => {
    let target = url;
    for (let hops = 0, refusals = 0; hops <= MAX_REDIRECTS;) {
      // Secrets go to the registry itself only: a redirect leads to a storage that has its own in the URL.
      const own = target.origin === base.origin;
      const header = own ? authorization.header() : undefined;
      const answer = await client.send(target, {
        method,
        headers: { ...headers, ...defined({ authorization: header }) },
        reach: target.hostname === base.hostname ? ownReach : reach,
        signal,
      });
      const { status, headers: received } = answer;
      if (status === 200 || status === 206) return answer;
      if ([301, 302, 303, 307, 308].includes(status) && received.location !== undefined) {
        discard(answer);
        target = redirectTarget(received.location, target, insecure);
        hops += 1;
      } else if (wantsToken(answer) && own && refusals < 2 && (await authorization.answer(answer))) {
        refusals += 1;
      } else {
        throw await refusedAnswer(answer, where);
      }
    }
    throw new FlixwrapError("oci-registry", { what: "too many redirects", where: url.href });
  };
  const explain = (error: unknown): unknown => (signal.aborted ? interrupted(error) : explainFailure(error, base.host));
  const patiently = async <T>(attempt: () => Promise<T>): Promise<T> =>
    await withRetries(startRetries(policy, signal), async () => {
      try {
        return await attempt();
      } catch (error) {
        throw explain(error);
      }
    });
  const urlOf = (kind: "manifests" | "blobs", name: string): URL =>
    new URL(`/v2/${reference.repository}/${kind}/${name}`, base);
  const getManifest = async (name: string): Promise<{ bytes: Buffer; mediaType: string }> =>
    await patiently(async () => {
      const answer = await request(urlOf("manifests", name), { accept: ACCEPT }, "GET");
      return { bytes: await readBody(answer, MAX_MANIFEST), mediaType: answer.headers["content-type"] ?? "" };
    });
  // Of a tag whose digest no HEAD request told.
  let fetched: { digest: Digest; bytes: Buffer } | undefined;

  return {
    description: `${reference.registry}/${reference.repository}`,
    async root() {
      if (reference.digest !== undefined) return { digest: reference.digest, mediaType: "" };
      // HEAD does not count against the limits of docker.io, and a warm cache needs no more.
      const tag = reference.tag ?? "latest";
      const head = await patiently(async () => {
        const answer = await request(urlOf("manifests", tag), { accept: ACCEPT }, "HEAD");
        discard(answer);
        return answer.headers;
      });
      const stated = head["docker-content-digest"];
      if (typeof stated === "string") return { digest: parseDigest(stated), mediaType: head["content-type"] ?? "" };
      const { bytes, mediaType } = await getManifest(tag);
      fetched = { digest: digestOf(bytes), bytes };
      return { digest: fetched.digest, mediaType };
    },
    async readManifest(digest) {
      return fetched?.digest === digest ? fetched.bytes : (await getManifest(digest)).bytes;
    },
    async *streamBlob(descriptor) {
      const { digest, size } = descriptor;
      const check = checkDigest(digest, `${digest} from ${base.host}`);
      let retries = startRetries(policy, signal);
      let place = urlOf("blobs", digest);
      const others = descriptor.urls.slice(0, MAX_PLACES);
      let done = 0;
      for (let isWhole = false; !isWhole;) {
        try {
          const range: Record<string, string> = done === 0 ? {} : { range: `bytes=${done}-` };
          const answer = await request(place, range, "GET");
          for await (const chunk of steadyBody(answer, done)) {
            done += chunk.length;
            if (done > size) throw wrongSize(digest, base.host, "more", size);
            check.update(chunk);
            yield chunk;
          }
          if (done < size) throw brokenOff(descriptor, done);
          isWhole = true;
        } catch (error) {
          const other = isNotFound(error) ? others.shift() : undefined;
          if (other !== undefined) {
            // A foreign layer, which registries need not keep: image-spec, "Non-Distributable Layers".
            place = redirectTarget(other, base, insecure);
            retries = startRetries(policy, signal);
            continue;
          }
          if (isNotFound(error) && descriptor.urls.length > 0) throw nowhere(descriptor, base.host);
          await retries.pause(explain(error), done);
          // What is missing may be nothing: the connection broke behind the last byte.
          isWhole = done === size;
        }
      }
      check.finish();
    },
    close: () => client.close(),
  };
}

/** 401, or the 403 of a server for which our token does not reach far enough (RFC 6750, 3.1). */
const wantsToken = ({ status, headers }: HttpAnswer): boolean =>
  status === 401 || (status === 403 && isInsufficient(headers["www-authenticate"]));

const isInsufficient = (challenge: string | undefined): boolean =>
  parseChallenges(challenge ?? "").some(({ parameters }) => parameters.error === "insufficient_scope");

const brokenOff = ({ digest, size }: Descriptor, done: number): Passing =>
  new Passing(
    new FlixwrapError("oci-truncated", {
      what: `the registry sends only a part of ${digest}`,
      got: `${done} bytes`,
      wanted: `${size}`,
    }),
  );

const isNotFound = (error: unknown): boolean => error instanceof FlixwrapError && error.code === "oci-not-found";

const nowhere = ({ digest, urls }: Descriptor, where: string): FlixwrapError =>
  new FlixwrapError("oci-not-found", {
    what: `the registry has no layer ${digest}, and it is not where the image says it would be`,
    where,
    items: urls,
  });

const wrongSize = (digest: Digest, where: string, got: string, size: number): FlixwrapError =>
  new FlixwrapError("oci-size-mismatch", {
    what: `wrong size of ${digest}`,
    where,
    got: `${got} bytes`,
    wanted: `${size}`,
  });

/**
 * The rest of a blob from `offset`; a server that ignores the range sends everything, and we skip.
 * @throws Error `ETIMEDOUT` when fewer bytes come than a living connection would bring.
 */
async function* steadyBody(answer: HttpAnswer, offset: number): AsyncGenerator<Buffer> {
  let skip = firstByte(answer, offset) === offset ? 0 : offset;
  try {
    for await (const chunk of steadyChunks(answer.body, answer.stall)) {
      const rest = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - rest.length;
      if (rest.length > 0) yield rest;
    }
  } finally {
    answer.body.destroy();
  }
}

function firstByte(answer: HttpAnswer, offset: number): number {
  if (answer.status !== 206) return 0;
  const range = answer.headers["content-range"] ?? "";
  const start = Number(/^bytes (\d+)-/.exec(range)?.[1]);
  if (start === offset) return offset;
  answer.body.destroy();
  throw new FlixwrapError("oci-registry", {
    what: "the registry sends another part of a blob than was asked for",
    where: answer.url.host,
    got: range || "no Content-Range",
    wanted: `bytes ${offset}-`,
  });
}

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
  const problem = await readProblem(answer);
  if (status === 404) {
    return new FlixwrapError("oci-not-found", {
      what: "no such image",
      where,
      ...defined({ got: problem }),
    });
  }
  if (status === 401 || status === 403) {
    const reason = isInsufficient(headers["www-authenticate"]) ? "what we may do there is not enough" : undefined;
    return denied(where, [problem, reason].filter(Boolean).join(", ") || `status ${status}`);
  }
  const limited = status === 429;
  const error = new FlixwrapError(limited ? "oci-rate-limit" : "oci-registry", {
    what: limited ? "the registry limits how much may be pulled" : `the registry answers with status ${status}`,
    where,
    ...defined({ got: problem }),
    ...(limited && { hint: "wait, or log in with docker or podman login: known users may pull more" }),
  });
  const passing = limited || status === 408 || (status >= 500 && status !== 501 && status !== 505);
  return passing ? new Passing(error, { after: parseRetryAfter(headers["retry-after"], Date.now()) }) : error;
}

/** Where the registry's API is, and how far inside the network. Loopback speaks plain HTTP unless it refuses. */
async function findBase(
  registry: string,
  options: RegistryOptions,
  send: (url: URL, reach: Reach) => Promise<HttpAnswer>,
): Promise<{ base: URL; reach: Reach; ownReach: Reach }> {
  const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
  const secure = new URL(`https://${host}`);
  const name = secure.hostname.replace(/^\[|\]$/g, "");
  const isLocal =
    name === "localhost" || name.endsWith(".localhost") || (isIP(name) !== 0 && reachOf(name) === LOOPBACK);
  const known = isLocal ? LOOPBACK : await reachOfHost(name);
  const reach = known ?? PUBLIC;
  // The address that somebody has typed is his will; a name must not lead farther inside later than it does now.
  const ownReach = isIP(name) !== 0 || known === undefined ? NEVER : known;
  if (!isLocal && options.tlsVerify !== false) return { base: secure, reach, ownReach };
  const plain = new URL(`http://${host}`);
  for (const base of isLocal ? [plain, secure] : [secure, plain]) {
    try {
      const answer = await send(new URL("/v2/", base), ownReach);
      discard(answer);
      // What a TLS server says to plain HTTP.
      if (answer.status !== 400) return { base, reach, ownReach };
    } catch (error) {
      if (error instanceof FlixwrapError) throw error;
      // It does speak TLS: that we do not trust it is for the real request to tell.
      if (isDistrust(error)) return { base, reach, ownReach };
    }
  }
  return { base: isLocal ? plain : secure, reach, ownReach };
}
