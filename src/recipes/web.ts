import { createHash, randomBytes } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { cacheError } from "../oci/cache/errors.ts";
import { makeFolders } from "../oci/make-folders.ts";
import { openDownloadCache, writeWhole } from "./cached-files.ts";
import { type Artifact, type Digest, fetchArtifact } from "./download.ts";
import { attempt, authorization, found, notOffline, type Run } from "./exchange.ts";
import { steadyChunks } from "../oci/network/steady.ts";
import { type Answer, get, idleLimit, networkError } from "./http.ts";
import type { Mirror } from "./mirrors.ts";

/** How {@link openWeb} reaches servers. */
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

/** What the engine needs from the network; everything is remembered in the cache. */
export interface Web {
  /** A page, a list, an answer of an API: fetched anew unless offline; undefined when the server has no such thing. */
  page(address: string, headers?: Readonly<Record<string, string>>): Promise<Page | undefined>;
  /** An artifact; the cached one when it fits. Undefined when the server has no such file (404, 410). */
  artifact(address: string, wanted?: Digest): Promise<Artifact | undefined>;
}

/** A text of a server. */
export interface Page {
  readonly text: string;
  /** The address of the next page of a paged API. */
  readonly next?: string;
}

/** Lists are short texts; a page above this is none. In bytes. */
const largestPage = 64 << 20;

/** The network through the cache. */
export function openWeb(options: WebOptions, context: Context): Web {
  const cache = openDownloadCache(options.cache);
  if (options.offline !== true) checkWritable(options.cache);
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

/** Told before anything is fetched. */
function checkWritable(folder: string): void {
  try {
    makeFolders(folder);
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw cacheError("cannot use the cache", folder, error);
  }
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
    for await (const chunk of steadyChunks(answer.body, idleLimit)) {
      size += chunk.length;
      if (size > largestPage)
        throw new FlixwrapError("recipe-too-large", {
          what: "the page is too large",
          where: address,
          wanted: "at most 64 MiB",
        });
      chunks.push(chunk);
    }
  } catch (error) {
    throw networkError(error, address, context);
  }
  return Buffer.concat(chunks);
}
