import http from "node:http";
import { isIP, type LookupFunction } from "node:net";
import { lookup as dnsLookup } from "node:dns";
import type { SecureContextOptions } from "node:tls";
import { FlixwrapError } from "../core/errors.ts";
import { reachOf, type Reach } from "./address.ts";

/**
 * One HTTP exchange over node:http and node:https; global `fetch` would cost 150 ms at its first use.
 * Redirects, authorization and repetition are the registry client's business.
 */
export interface HttpRequest {
  readonly method?: "GET" | "HEAD" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The farthest inside an address may lie that a name leads to. */
  readonly reach: Reach;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly url: URL;
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: http.IncomingMessage;
}

/** TLS options and open connections of one pull. */
export interface HttpClient {
  /** @throws the system's error, or `oci-forbidden-address`. */
  send(url: URL, request: HttpRequest): Promise<HttpAnswer>;
  close(): void;
}

export interface HttpOptions {
  /** False accepts any certificate. */
  readonly tlsVerify?: boolean;
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key">;
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stall?: number;
}

/** The usual patience with a silent connection: milliseconds. */
export const STALL = 60_000;
const SOCKETS = 8;

export function openHttp(options: HttpOptions = {}): HttpClient {
  const agents = new Map<string, http.Agent>();
  const agentFor = async (protocol: string): Promise<http.Agent> => {
    const known = agents.get(protocol);
    if (known !== undefined) return known;
    const made =
      protocol === "http:"
        ? new http.Agent({ keepAlive: true, maxSockets: SOCKETS })
        : new (await import("node:https")).Agent({
            keepAlive: true,
            maxSockets: SOCKETS,
            rejectUnauthorized: options.tlsVerify ?? true,
            ...options.tls,
          });
    agents.set(protocol, made);
    return made;
  };
  return {
    async send(url, request) {
      refuseAddress(url.hostname, request.reach);
      const agent = await agentFor(url.protocol);
      const start = url.protocol === "http:" ? http.request : (await import("node:https")).request;
      return await new Promise<HttpAnswer>((resolve, reject) => {
        let received: http.IncomingMessage | undefined;
        const sent = start(
          url,
          {
            agent,
            method: request.method ?? "GET",
            headers: { "user-agent": "flixwrap", ...request.headers },
            lookup: guardedLookup(request.reach),
            signal: request.signal,
            timeout: options.stall ?? STALL,
          },
          (body) => {
            received = body;
            resolve({ url, status: body.statusCode ?? 0, headers: body.headers, body });
          },
        );
        sent.once("error", reject);
        sent.once("timeout", () => (received ?? sent).destroy(stalled(url)));
        sent.end(request.body);
      });
    },
    close: () => agents.forEach((agent) => agent.destroy()),
  };
}

const stalled = (url: URL): Error => Object.assign(new Error(`${url.host} does not answer`), { code: "ETIMEDOUT" });

/**
 * The body as text or bytes in memory.
 * @throws FlixwrapError `oci-too-large` beyond `limit` bytes.
 */
export async function readBody(answer: HttpAnswer, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > limit) {
      answer.body.destroy();
      throw new FlixwrapError("oci-too-large", {
        what: "a server's answer is too large",
        where: answer.url.href.split("?")[0]!,
        wanted: `at most ${limit} bytes`,
      });
    }
  }
  if (!answer.body.complete) throw Object.assign(new Error("the connection broke"), { code: "ECONNRESET" });
  return Buffer.concat(chunks);
}

/** A short answer nobody needs is read so that the connection can be used again; a long one is cut. */
export function discard(answer: HttpAnswer): void {
  const length = Number(answer.headers["content-length"] ?? Number.POSITIVE_INFINITY);
  answer.body.on("error", () => undefined);
  if (length <= 64 << 10) answer.body.resume();
  else answer.body.destroy();
}

function refuseAddress(host: string, reach: Reach): void {
  const bare = host.replace(/^\[|\]$/g, "");
  if (isIP(bare) !== 0 && reachOf(bare) > reach) throw forbidden(host);
}

/** Checks what a name really leads to, at the moment of connecting. */
const guardedLookup =
  (reach: Reach): LookupFunction =>
  (host, lookupOptions, callback) => {
    dnsLookup(host, { ...lookupOptions, all: true }, (error, addresses) => {
      const refused = error === null && addresses.some(({ address }) => reachOf(address) > reach);
      if (error !== null || refused) callback(error ?? forbidden(host), "", 0);
      else if (lookupOptions.all) callback(null, addresses);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };

const forbidden = (host: string): FlixwrapError & NodeJS.ErrnoException =>
  new FlixwrapError("oci-forbidden-address", {
    what: "the registry sends us to an address inside the network that it has no business with",
    where: host,
  });
