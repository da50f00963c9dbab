import http, { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import https from "node:https";
import { connect as connectTls } from "node:tls";
import type { Context } from "../core/context.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { NEVER, PUBLIC, type Reach } from "../oci/network/address.ts";
import { findProxy, openTunnel, proxyHeaders } from "../oci/network/proxy.ts";
import { guardedLookup, reachOfHost, reachOfPeer, refuseAddress } from "../oci/network/reach.ts";

/** One answer; `body` must be read or destroyed. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: IncomingMessage;
  /** After redirects. */
  readonly address: string;
}

const mostRedirects = 10;
/** Milliseconds without a byte, or with hardly any, before a connection counts as dead. */
export const idleLimit = 30_000;

/**
 * One GET with redirects followed, through the proxy that the environment names. Credentials never follow a
 * redirect to another host, and no redirect leads from https to http, or farther inside the network than the address itself.
 * @throws FlixwrapError `recipe-network`, `recipe-redirect`, `oci-forbidden-address`, `interrupted`
 */
export async function get(
  address: string,
  headers: Readonly<Record<string, string>>,
  context: Context,
): Promise<Answer> {
  let url = parseAddress(address);
  let sent = headers;
  let reach: Reach = NEVER;
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const body = await send(url, sent, reach, context);
    const status = body.statusCode ?? 0;
    const location = body.headers.location;
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
      return { status, headers: body.headers, body, address: url.href };
    }
    // How far inside the network we may be led is measured by the server that answered, not by what its name leads to later.
    if (hop === 0) {
      const isDirect = findProxy(url, context.env) === undefined;
      reach = isDirect ? reachOfPeer(body.socket) : ((await reachOfHost(url.hostname)) ?? PUBLIC);
    }
    body.destroy();
    const next = parseAddress(location, url);
    if (url.protocol === "https:" && next.protocol === "http:") {
      throw new FlixwrapError("recipe-redirect", {
        what: "an https address redirects to http",
        where: address,
        got: next.href,
      });
    }
    if (next.host !== url.host) {
      sent = Object.fromEntries(Object.entries(sent).filter(([name]) => name !== "authorization"));
    }
    url = next;
  }
  throw new FlixwrapError("recipe-redirect", { what: `more than ${mostRedirects} redirects`, where: address });
}

/**
 * An http or https address, relative to `base` if there is one.
 * @throws FlixwrapError `recipe-address`.
 */
export function parseAddress(address: string, base?: URL): URL {
  const url = URL.canParse(address, base?.href) ? new URL(address, base) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new FlixwrapError("recipe-address", { what: "this is no http or https address", got: address });
}

async function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  reach: Reach,
  context: Context,
): Promise<IncomingMessage> {
  refuseAddress(url.hostname, reach);
  try {
    const request = await openRequest(url, { "user-agent": "flixwrap", ...headers }, reach, context);
    return await new Promise((resolve, reject) => {
      request.on("error", reject).on("response", resolve);
      const giveUp = (): void => void request.destroy(new Error(`no answer for ${idleLimit / 1000} seconds`));
      request.setTimeout(idleLimit, giveUp);
      // The timeout is for silence alone: headers that come a byte at a time would never end it.
      const patience = setTimeout(giveUp, 2 * idleLimit);
      request.once("response", () => clearTimeout(patience)).once("close", () => clearTimeout(patience));
      request.end();
    });
  } catch (error) {
    throw networkError(error, url, context);
  }
}

/** A GET request that only needs its `end()`: direct, through an http proxy, or through its tunnel for https. */
async function openRequest(
  url: URL,
  headers: OutgoingHttpHeaders,
  reach: Reach,
  { env, signal }: Context,
): Promise<ClientRequest> {
  const start = url.protocol === "https:" ? https.request : http.request;
  const proxy = findProxy(url, env);
  // A proxy looks names up itself, and may stand inside.
  if (proxy === undefined) return start(url, { headers, signal, lookup: guardedLookup(reach) });
  if (url.protocol === "http:") {
    const via = { hostname: proxy.hostname, port: proxy.port || 80, path: url.href };
    return start(url, { ...via, headers: { ...headers, ...proxyHeaders(proxy), host: url.host }, signal });
  }
  const socket = await openTunnel(proxy, url, idleLimit, signal);
  return start(url, { headers, signal, createConnection: () => connectTls({ socket, servername: url.hostname }) });
}

/** What a failed connection or a body cut short is called everywhere in this room. */
export function networkError(error: unknown, url: URL | string, context: Context): FlixwrapError {
  if (error instanceof FlixwrapError) return error;
  if (context.signal.aborted) return interrupted(error);
  const { code, message } = error as NodeJS.ErrnoException;
  const facts = { what: "cannot reach the server", where: String(url), got: message || code || "no connection" };
  return new FlixwrapError("recipe-network", facts, { cause: error });
}
