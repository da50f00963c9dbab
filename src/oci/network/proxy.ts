import http from "node:http";
import { BlockList, isIP, isIPv6, type Socket } from "node:net";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";

/**
 * The proxy for a URL by the usual variables (as curl and Go read them): `https_proxy`, `http_proxy`, `all_proxy`,
 * `no_proxy`, in capitals too, except HTTP_PROXY where a web server could have set it (CVE-2016-5385).
 * @throws FlixwrapError `oci-bad-proxy`.
 */
export function findProxy(url: URL, env: Context["env"]): URL | undefined {
  const scheme = url.protocol.slice(0, -1);
  const read = (name: string): string | undefined => env[name] || env[name.toUpperCase()] || undefined;
  const isServer = scheme === "http" && env.REQUEST_METHOD !== undefined;
  const text = (isServer ? env.http_proxy : read(`${scheme}_proxy`)) ?? read("all_proxy");
  if (text === undefined || isExempt(url, read("no_proxy") ?? "")) return undefined;
  const full = text.includes("://") ? text : `http://${text}`;
  const proxy = URL.canParse(full) ? new URL(full) : undefined;
  if (proxy?.protocol === "http:") return proxy;
  throw new FlixwrapError("oci-bad-proxy", {
    what: "not a proxy this program can use",
    got: withoutPassword(full),
    wanted: "http://HOST:PORT",
  });
}

const withoutPassword = (text: string): string => text.replace(/\/\/[^@/]*@/, "//…@");

/** `no_proxy`: hosts, `.domain` or `domain` with everything below, addresses, networks, each maybe with a port; `*`. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  // As Go has it, a loopback address never goes through a proxy.
  if (host === "localhost" || host.endsWith(".localhost") || /^127\.|^::1$/.test(host)) return true;
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true;
      const [, name, wanted] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase().replace(/^\[(.*)\]/, "$1")) ?? [];
      if (isIPv6(entry) || entry.includes("/")) return isInNetwork(host, entry);
      if (wanted !== undefined && wanted !== port) return false;
      const domain = name!.replace(/^\*?\./, "");
      return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`));
    });
}

function isInNetwork(host: string, entry: string): boolean {
  const [network, prefix] = entry.split("/");
  if (isIP(host) === 0 || isIP(network!) !== isIP(host)) return false;
  const family = isIPv6(host) ? "ipv6" : "ipv4";
  const list = new BlockList();
  try {
    list.addSubnet(network!, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
    return list.check(host, family);
  } catch {
    return false;
  }
}

/** Headers a proxy wants from us. */
export function proxyHeaders(proxy: URL): Record<string, string> {
  if (proxy.username === "") return {};
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(user).toString("base64")}` };
}

/** A connection through a proxy: CONNECT, RFC 9110, 9.3.6. */
export async function openTunnel(proxy: URL, target: URL, timeout: number, signal: AbortSignal): Promise<Socket> {
  const authority = `${target.hostname}:${target.port || "443"}`;
  const failed = (got: string): Error =>
    Object.assign(new Error(`the proxy ${proxy.host} does not connect: ${got}`), { code: "EPROXY" });
  return await new Promise((resolve, reject) => {
    const asked = http.request({
      host: proxy.hostname.replace(/^\[|\]$/g, ""),
      port: proxy.port || 80,
      method: "CONNECT",
      path: authority,
      headers: { host: authority, "user-agent": "flixwrap", ...proxyHeaders(proxy) },
      agent: false,
      timeout,
      signal,
    });
    asked.once("connect", (answer, socket, head) => {
      if (answer.statusCode === 200 && head.length === 0) resolve(socket);
      else {
        socket.destroy();
        reject(failed(`status ${answer.statusCode}`));
      }
    });
    // A proxy that does not know CONNECT answers like any server.
    asked.once("response", (answer) => {
      answer.destroy();
      reject(failed(`status ${answer.statusCode}`));
    });
    asked.once("timeout", () => asked.destroy(failed("no answer in time")));
    asked.once("error", (error) => reject(error));
    asked.end();
  });
}
