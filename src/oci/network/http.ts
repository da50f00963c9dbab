import http from "node:http";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import type { Reach } from "./address.ts";
import { findProxy, proxyHeaders } from "./proxy.ts";
import { guardedLookup, reachOfPeer, refuseAddress } from "./reach.ts";
import { steadyChunks } from "./steady.ts";
import type { Trust } from "../registry/trust.ts";

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

/** An answer whose body is still to be read, or discarded. */
export interface HttpAnswer {
  readonly url: URL;
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: http.IncomingMessage;
  /** How far inside the server stands that has answered; undefined behind a proxy. */
  readonly from: Reach | undefined;
  /** Milliseconds without a byte, or with hardly any, after which the body is given up. */
  readonly stall: number;
}

/** The open connections of one pull. */
export interface HttpClient {
  /** @throws the system's error, or `oci-forbidden-address`. */
  send(url: URL, request: HttpRequest): Promise<HttpAnswer>;
  close(): void;
}

/** How connections are made. */
export interface HttpOptions {
  /** Asked when the first connection with TLS is made. */
  readonly trust: () => Trust;
  readonly env: Context["env"];
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stall?: number;
}

/** The usual patience with a silent connection: milliseconds. */
export const STALL = 60_000;
const SOCKETS = 8;

/** A client that keeps its connections until it is closed. */
export function openHttp(options: HttpOptions): HttpClient {
  const agents = new Map<string, http.Agent>();
  const timeout = options.stall ?? STALL;
  const agentFor = async (url: URL, proxy: URL | undefined): Promise<http.Agent> => {
    const key = `${url.protocol} ${proxy?.href ?? ""}`;
    const known = agents.get(key);
    if (known !== undefined) return known;
    const made =
      url.protocol === "http:"
        ? new http.Agent({ keepAlive: true, maxSockets: SOCKETS })
        : (await import("./tls-agent.ts")).tlsAgent({ trust: options.trust(), proxy, timeout, maxSockets: SOCKETS });
    agents.set(key, made);
    return made;
  };
  return {
    async send(url, request) {
      refuseAddress(url.hostname, request.reach);
      const proxy = findProxy(url, options.env);
      const agent = await agentFor(url, proxy);
      const start = url.protocol === "http:" ? http.request : (await import("node:https")).request;
      // With TLS it is the agent's business.
      const viaProxy =
        url.protocol === "http:" && proxy !== undefined
          ? { hostname: proxy.hostname, port: proxy.port || 80, path: url.href, headers: proxyHeaders(proxy) }
          : undefined;
      return await new Promise<HttpAnswer>((resolve, reject) => {
        let received: http.IncomingMessage | undefined;
        const sent = start(
          url,
          {
            agent,
            ...viaProxy,
            method: request.method ?? "GET",
            headers: { host: url.host, "user-agent": "flixwrap", ...request.headers, ...viaProxy?.headers },
            // A proxy looks names up itself, and may stand inside.
            ...(proxy === undefined && { lookup: guardedLookup(request.reach) }),
            signal: request.signal,
            timeout,
          },
          (body) => {
            received = body;
            const from = proxy === undefined ? reachOfPeer(body.socket) : undefined;
            resolve({ url, status: body.statusCode ?? 0, headers: body.headers, body, from, stall: timeout });
          },
        );
        sent.once("error", reject);
        // The timeout is for silence: headers that come a byte at a time would never end it.
        const patience = setTimeout(() => received ?? sent.destroy(stalled(url)), 2 * timeout);
        sent.once("response", () => clearTimeout(patience)).once("close", () => clearTimeout(patience));
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
  for await (const chunk of steadyChunks(answer.body, answer.stall)) {
    chunks.push(chunk);
    length += chunk.length;
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
