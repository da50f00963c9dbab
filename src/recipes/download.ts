import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { withLock } from "../oci/cache/lock.ts";
import { makeFolders } from "../oci/make-folders.ts";
import { type CachedFile, hashFile, sizeOf, writeWhole } from "./cached-files.ts";
import { attempt, authorization, found, notOffline, type Run } from "./exchange.ts";
import { steadyChunks } from "../oci/network/steady.ts";
import { type Answer, get, idleLimit, networkError } from "./http.ts";

/** A downloaded file. */
export interface Artifact {
  readonly address: string;
  /** In the cache; must not be changed. */
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

/** A digest that somebody vouches for. */
export interface Digest {
  readonly algorithm: "sha256" | "sha512";
  /** Lower-case hexadecimal. */
  readonly hex: string;
  /** Who says so, for messages. */
  readonly source: string;
}

/** The largest artifact taken; ollama's, the largest known, is 2 GB. In bytes. */
const largestArtifact = 32 * 2 ** 30;

/**
 * An artifact from the cache when it fits, else downloaded: resumed, retried, checked, then adopted. Processes that
 * want the same one wait for each other.
 */
export async function fetchArtifact(
  run: Run,
  address: string,
  wanted: Digest | undefined,
): Promise<Artifact | undefined> {
  const cached = await fromCache(run, address, wanted);
  if (cached !== undefined) return cached;
  if (run.offline) throw notOffline(address);
  const partial = run.cache.partial(address);
  makeFolders(dirname(partial));
  return withLock(`${partial}.lock`, run.context.signal, async () => {
    const arrived = await fromCache(run, address, wanted);
    if (arrived !== undefined) return arrived;
    const known = run.cache.find(address);
    return attempt(
      run,
      address,
      (url) => download(run, url, address, wanted, known),
      () => sizeOf(partial) ?? 0,
    );
  });
}

async function fromCache(run: Run, address: string, wanted: Digest | undefined): Promise<Artifact | undefined> {
  const known = run.cache.find(address);
  const path = known && run.cache.content(known);
  if (known === undefined || path === undefined) return undefined;
  const artifact = { address, path, sha256: known.sha256, size: known.size };
  await checkDigest(artifact, wanted, known);
  return artifact;
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
    hint: "ask upstream why; if the change is right, use another --cache-dir or delete the lock",
  });

async function download(
  run: Run,
  url: string,
  address: string,
  wanted: Digest | undefined,
  known: CachedFile | undefined,
): Promise<Artifact | undefined> {
  const partial = run.cache.partial(address);
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
      run.context.emit({ kind: "progress", what: address, done: size, ...defined({ total }) });
      done(null, chunk);
    },
  });
  try {
    await pipeline(
      steadyChunks(answer.body, idleLimit),
      count,
      createWriteStream(path, { flags: begun > 0 ? "a" : "w" }),
    );
  } catch (error) {
    throw isDiskError(error) ? diskError(error, path) : networkError(error, address, run.context);
  }
  if (total !== undefined && size !== total)
    throw networkError(new Error(`the connection ended after ${size} of ${total} bytes`), address, run.context);
  return { sha256: hash.digest("hex"), size };
}

const diskError = (error: unknown, where: string): FlixwrapError =>
  new FlixwrapError(
    "recipe-disk",
    { what: "cannot keep the download", where, got: (error as Error).message },
    { cause: error },
  );

const isDiskError = (error: unknown): boolean =>
  ["ENOSPC", "EACCES", "EROFS", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "");
