import { type ClientRequest, type OutgoingHttpHeaders, request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";

/** Milliseconds for a proxy to open its tunnel. */
const tunnelLimit = 30_000;

/** A GET request that only needs its `end()`: direct, through an http proxy, or through its tunnel for https. */
export async function openRequest(url: URL, headers: OutgoingHttpHeaders, context: Context): Promise<ClientRequest> {
  const { signal } = context;
  const proxy = proxyFor(url, context.env);
  if (proxy === undefined) {
    return url.protocol === "https:" ? secureRequest(url, { headers, signal }) : plainRequest(url, { headers, signal });
  }
  const at = { host: proxy.hostname, port: proxy.port === "" ? 80 : Number(proxy.port), signal };
  if (url.protocol === "http:") {
    return plainRequest({ ...at, path: url.href, headers: { ...headers, ...credentials(proxy), host: url.host } });
  }
  const target = `${url.hostname}:${url.port === "" ? 443 : url.port}`;
  const request = plainRequest({
    ...at,
    method: "CONNECT",
    path: target,
    headers: { host: target, ...credentials(proxy) },
  });
  const socket = await openTunnel(request, target);
  const createConnection = (): Socket => connectTls({ socket, servername: url.hostname });
  return secureRequest(url, { headers, signal, createConnection });
}

async function openTunnel(request: ClientRequest, target: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    request.on("connect", (response, socket: Socket) => {
      if (response.statusCode === 200) return resolve(socket);
      socket.destroy();
      const got = `status ${response.statusCode}`;
      reject(new FlixwrapError("recipe-network", { what: "the proxy refuses the connection", where: target, got }));
    });
    request.setTimeout(tunnelLimit, () => request.destroy(new Error("the proxy does not answer")));
    request.end();
  });
}

function credentials(proxy: URL): OutgoingHttpHeaders {
  if (proxy.username === "") return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}

/** The proxy for an address, by the conventional variables in either case; `NO_PROXY` takes hosts, suffixes and `*`. */
export function proxyFor(url: URL, env: Context["env"]): URL | undefined {
  const read = (name: string): string | undefined => env[name] || env[name.toUpperCase()];
  const proxy = read(url.protocol === "https:" ? "https_proxy" : "http_proxy") ?? read("all_proxy");
  if (proxy === undefined) return undefined;
  const exempt = (read("no_proxy") ?? "").split(",").map((entry) =>
    entry
      .trim()
      .toLowerCase()
      .replace(/^\*?\./, ""),
  );
  const host = url.hostname.toLowerCase();
  const direct = exempt.some(
    (entry) => entry === "*" || host === entry || (entry !== "" && host.endsWith(`.${entry}`)),
  );
  if (direct) return undefined;
  const address = proxy.includes("://") ? proxy : `http://${proxy}`;
  if (URL.canParse(address) && address.startsWith("http://")) return new URL(address);
  throw new FlixwrapError("recipe-address", { what: "cannot use this proxy", got: proxy, wanted: "http://HOST:PORT" });
}
