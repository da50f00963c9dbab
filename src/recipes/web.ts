import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import {
  type CachedFile,
  type DownloadCache,
  hashFile,
  openDownloadCache,
  sizeOf,
  writeWhole,
} from "./cached-files.ts";
import { Passing, parseRetryAfter, withRetries } from "../oci/retry.ts";
import { type Answer, get, networkError } from "./http.ts";

export interface WebOptions {
  /** Folder of the download cache. */
  readonly cache: string;
  /** Address prefixes and what stands in for them, `*` for every address: see {@link mirrorAddress}. */
  readonly mirrors?: readonly Mirror[];
  /** Nothing but the cache is used. */
  readonly offline?: boolean;
  /** Tries per file; default 5. */
  readonly tries?: number;
  /** Milliseconds before the second try, doubled for each further one; default 500. */
  readonly pause?: number;
}

export interface Mirror {
  readonly from: string;
  readonly to: string;
}

/** What the engine needs from the network; everything is remembered in the cache. */
export interface Web {
  /** A page, a list, an answer of an API: fetched anew unless offline; undefined when the server has no such thing. */
  page(address: string, headers?: Readonly<Record<string, string>>): Promise<Page | undefined>;
  /** An artifact; the cached one when it fits. Undefined when the server has no such file (404, 410). */
  artifact(address: string, wanted?: Digest): Promise<Artifact | undefined>;
}

export interface Page {
  readonly text: string;
  /** The address of the next page of a paged API. */
  readonly next?: string;
}

export interface Artifact {
  readonly address: string;
  /** In the cache; must not be changed. */
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

export interface Digest {
  readonly algorithm: "sha256" | "sha512";
  /** Lower-case hexadecimal. */
  readonly hex: string;
  /** Who says so, for messages. */
  readonly source: string;
}

/** Lists are short texts; a page above this is none. In bytes. */
const largestPage = 64 << 20;
/** The largest artifact taken; ollama's, the largest known, is 2 GB. In bytes. */
const largestArtifact = 32 * 2 ** 30;

/** `FROM=TO`, FROM an address prefix or `*`. */
export function parseMirror(text: string): Mirror {
  const at = text.indexOf("=", text.startsWith("*") ? 0 : text.indexOf("://") + 3);
  const [from, to] = [text.slice(0, at), text.slice(at + 1)];
  if (at > 0 && (from === "*" || /^https?:\/\/./.test(from)) && /^https?:\/\/./.test(to)) return { from, to };
  throw new FlixwrapError("usage", {
    what: "cannot read the mirror",
    got: text,
    wanted: "FROM=TO, two addresses, or *=TO",
  });
}

/** Where an address is really fetched from: the longest matching prefix replaced; `*` gives TO/HOST/PATH. */
export function mirrorAddress(address: string, mirrors: readonly Mirror[]): string {
  const [best] = mirrors.filter((one) => address.startsWith(one.from)).sort((a, b) => b.from.length - a.from.length);
  if (best !== undefined) return best.to + address.slice(best.from.length);
  const any = mirrors.find((one) => one.from === "*");
  return any === undefined ? address : `${any.to.replace(/\/$/, "")}/${address.replace(/^https?:\/\//, "")}`;
}

/** The network through the cache. */
export function openWeb(options: WebOptions, context: Context): Web {
  const cache = openDownloadCache(options.cache);
  const run: Run = {
    cache,
    context,
    mirrors: options.mirrors ?? [],
    offline: options.offline ?? false,
    tries: options.tries ?? 5,
    pause: options.pause ?? 500,
  };
  const underWay = new Map<string, Promise<Artifact | undefined>>();
  return {
    page: (address, headers = {}) => fetchPage(run, address, headers),
    artifact(address, wanted) {
      const already = underWay.get(address);
      if (already !== undefined) return already;
      const work = fetchArtifact(run, address, wanted).finally(() => underWay.delete(address));
      underWay.set(address, work);
      return work;
    },
  };
}

interface Run {
  readonly cache: DownloadCache;
  readonly context: Context;
  readonly mirrors: readonly Mirror[];
  readonly offline: boolean;
  readonly tries: number;
  readonly pause: number;
}

async function fetchPage(
  run: Run,
  address: string,
  headers: Readonly<Record<string, string>>,
): Promise<Page | undefined> {
  const known = run.cache.find(address);
  const cached = known && run.cache.content(known);
  if (run.offline) {
    if (known === undefined || cached === undefined) throw notOffline(address);
    return toPage(readFileSync(cached, "utf8"), known.link);
  }
  // A GitHub answer of "not modified" costs nothing of the hourly allowance.
  const conditional = cached !== undefined && known?.etag !== undefined ? { "if-none-match": known.etag } : {};
  return attempt(run, address, async (url) => {
    const answer = await get(url, { ...authorization(url, run.context), ...headers, ...conditional }, run.context);
    if (answer.status === 304 && cached !== undefined) {
      answer.body.destroy();
      return toPage(readFileSync(cached, "utf8"), known?.link);
    }
    if (!found(answer, address)) return undefined;
    const bytes = await readAll(answer, address, run.context);
    const link = answer.headers["link"];
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const temporary = `${run.cache.partial(address)}.${randomBytes(6).toString("hex")}`;
    writeWhole(temporary, bytes);
    const { etag } = answer.headers;
    run.cache.adopt(temporary, {
      address,
      sha256,
      size: bytes.length,
      ...(etag && { etag }),
      ...(typeof link === "string" && { link }),
    });
    return toPage(bytes.toString("utf8"), typeof link === "string" ? link : undefined);
  });
}

function toPage(text: string, link: string | undefined): Page {
  const next = link === undefined ? undefined : /<([^>]+)>\s*;[^,]*rel="?next"?/.exec(link)?.[1];
  return next === undefined ? { text } : { text, next };
}

async function readAll(answer: Answer, address: string, context: Context): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body) {
      size += (chunk as Buffer).length;
      if (size > largestPage)
        throw new FlixwrapError("recipe-too-large", {
          what: "the page is too large",
          where: address,
          wanted: "at most 64 MiB",
        });
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    throw networkError(error, address, context);
  }
  return Buffer.concat(chunks);
}

async function fetchArtifact(run: Run, address: string, wanted: Digest | undefined): Promise<Artifact | undefined> {
  const known = run.cache.find(address);
  const path = known && run.cache.content(known);
  if (known !== undefined && path !== undefined) {
    const artifact = { address, path, sha256: known.sha256, size: known.size };
    await checkDigest(artifact, wanted, known);
    return artifact;
  }
  if (run.offline) throw notOffline(address);
  return attempt(run, address, (url) => download(run, url, address, wanted, known));
}

/** @throws FlixwrapError `recipe-checksum`, `recipe-upstream-changed` */
async function checkDigest(
  artifact: Artifact,
  wanted: Digest | undefined,
  known: CachedFile | undefined,
): Promise<void> {
  if (wanted !== undefined) {
    const got = wanted.algorithm === "sha256" ? artifact.sha256 : await hashFile(artifact.path, "sha512");
    if (got !== wanted.hex) {
      if (known?.sha256 === artifact.sha256)
        throw changed(artifact.address, known.sha256, `${wanted.algorithm}:${wanted.hex} in ${wanted.source}`);
      throw new FlixwrapError("recipe-checksum", {
        what: "the download is not what its checksum says",
        where: artifact.address,
        got: `${wanted.algorithm}:${got}`,
        wanted: `${wanted.algorithm}:${wanted.hex} (${wanted.source})`,
      });
    }
  }
  if (known !== undefined && known.sha256 !== artifact.sha256)
    throw changed(artifact.address, known.sha256, `sha256:${artifact.sha256}`);
}

const changed = (address: string, before: string, now: string): FlixwrapError =>
  new FlixwrapError("recipe-upstream-changed", {
    what: "upstream's file has changed under the same version",
    where: address,
    got: now,
    wanted: `sha256:${before} as downloaded before`,
    hint: "ask upstream why; if the change is right, use another --cache folder or delete the lock",
  });

const notOffline = (address: string): FlixwrapError =>
  new FlixwrapError("recipe-offline", { what: "not in the cache", where: address, hint: "run once without --offline" });

async function download(
  run: Run,
  url: string,
  address: string,
  wanted: Digest | undefined,
  known: CachedFile | undefined,
): Promise<Artifact | undefined> {
  const partial = run.cache.partial(address);
  mkdirSync(dirname(partial), { recursive: true });
  const begun = sizeOf(partial) ?? 0;
  const tag = sizeOf(`${partial}.etag`) === undefined ? undefined : readFileSync(`${partial}.etag`, "utf8");
  const resume = begun > 0 && tag !== undefined;
  const range: Record<string, string> = resume ? { range: `bytes=${begun}-`, "if-range": tag } : {};
  const answer = await get(url, { ...authorization(url, run.context), ...range }, run.context);
  if (answer.status === 416) {
    answer.body.destroy();
    forget(partial);
    throw new FlixwrapError("recipe-network", { what: "the server cannot resume the download", where: address });
  }
  if (!found(answer, address)) return undefined;
  const resumed = answer.status === 206 && answer.headers["content-range"]?.startsWith(`bytes ${begun}-`) === true;
  if (answer.status === 206 && !resumed) {
    answer.body.destroy();
    forget(partial);
    throw new FlixwrapError("recipe-network", {
      what: "the server answers with another part than asked",
      where: address,
    });
  }
  const { etag } = answer.headers;
  if (!resumed) {
    rmSync(`${partial}.etag`, { force: true });
    // Only a strong tag promises the same bytes (RFC 9110, 13.1.5).
    if (etag !== undefined && !etag.startsWith("W/")) writeWhole(`${partial}.etag`, etag);
  }
  const { sha256, size } = await receive(run, answer, address, partial, resumed ? begun : 0);
  const artifact = { address, path: partial, sha256, size };
  try {
    await checkDigest(artifact, wanted, known);
  } catch (error) {
    forget(partial);
    throw error;
  }
  rmSync(`${partial}.etag`, { force: true });
  return { ...artifact, path: run.cache.adopt(partial, { address, sha256, size }) };
}

function forget(partial: string): void {
  rmSync(partial, { force: true });
  rmSync(`${partial}.etag`, { force: true });
}

/** Writes the body to `path` after its first `begun` bytes; gives the digest of the whole. */
async function receive(
  run: Run,
  answer: Answer,
  address: string,
  path: string,
  begun: number,
): Promise<{ sha256: string; size: number }> {
  const hash = createHash("sha256");
  if (begun > 0) for await (const chunk of createReadStream(path, { end: begun - 1 })) hash.update(chunk as Buffer);
  const length = answer.headers["content-length"];
  const total = length === undefined ? undefined : begun + Number(length);
  let size = begun;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > largestArtifact)
        return done(new FlixwrapError("recipe-too-large", { what: "the download is too large", where: address }));
      hash.update(chunk);
      run.context.emit({ kind: "progress", what: address, done: size, ...(total !== undefined && { total }) });
      done(null, chunk);
    },
  });
  try {
    await pipeline(answer.body, count, createWriteStream(path, { flags: begun > 0 ? "a" : "w" }));
  } catch (error) {
    throw isDiskError(error) ? error : networkError(error, address, run.context);
  }
  if (total !== undefined && size !== total)
    throw networkError(new Error(`the connection ended after ${size} of ${total} bytes`), address, run.context);
  return { sha256: hash.digest("hex"), size };
}

const isDiskError = (error: unknown): boolean =>
  ["ENOSPC", "EACCES", "EROFS", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "");

/** GitHub's allowance is 60 questions an hour without a token; the token goes to its real API and nowhere else. */
function authorization(url: string, { env }: Context): Record<string, string> {
  const token = env["GH_TOKEN"] || env["GITHUB_TOKEN"];
  return token && url.startsWith("https://api.github.com/") ? { authorization: `Bearer ${token}` } : {};
}

function found(answer: Answer, address: string): boolean {
  if (answer.status === 200 || answer.status === 206) return true;
  answer.body.destroy();
  if (answer.status === 404 || answer.status === 410) return false;
  const limited = answer.headers["x-ratelimit-remaining"] === "0";
  const error = new FlixwrapError("recipe-refused", {
    what: limited ? "the server's hourly allowance is used up" : "the server refuses",
    where: address,
    got: `status ${answer.status}`,
    ...(limited && { hint: "set GH_TOKEN to a GitHub token" }),
  });
  const passes = !limited && (answer.status === 429 || answer.status >= 500);
  throw passes ? new Passing(error, { after: parseRetryAfter(answer.headers["retry-after"], Date.now()) }) : error;
}

/** Broken connections, 429 and 5xx may pass; the longest wait between two tries is a minute. */
function attempt<T>(run: Run, address: string, once: (url: string) => Promise<T>): Promise<T> {
  const url = mirrorAddress(address, run.mirrors);
  const policy = { tries: run.tries, firstDelay: run.pause, maxDelay: 60_000, maxAfter: 60_000 };
  return withRetries(policy, run.context.signal, () =>
    once(url).catch((error: unknown) => {
      throw error instanceof FlixwrapError && error.code === "recipe-network" ? new Passing(error) : error;
    }),
  );
}
