import { Agent, type AgentOptions, type RequestOptions } from "node:https";
import type { Duplex } from "node:stream";
import { connect, type ConnectionOptions } from "node:tls";
import { defined } from "../../core/defined.ts";
import { openTunnel } from "./proxy.ts";
import type { Trust } from "../registry/trust.ts";

/** Loaded with the first https URL only: node:tls and its certificates take their time. */
export function tlsAgent(options: {
  readonly trust: Trust;
  readonly proxy: URL | undefined;
  readonly timeout: number;
  readonly maxSockets: number;
}): Agent {
  const { trust, proxy, timeout, maxSockets } = options;
  const usual = {
    keepAlive: true,
    maxSockets,
    rejectUnauthorized: trust.verify,
    ...defined({ secureContext: trust.secureContext }),
  };
  return proxy === undefined ? new Agent(usual) : new TunnelAgent(usual, proxy, timeout);
}

/** Connections that begin with CONNECT to a proxy. */
class TunnelAgent extends Agent {
  readonly #proxy: URL;
  readonly #timeout: number;

  constructor(options: AgentOptions, proxy: URL, timeout: number) {
    super(options);
    this.#proxy = proxy;
    this.#timeout = timeout;
  }

  /** Node calls it for every new connection and takes a socket later by the callback. */
  override createConnection(
    options: RequestOptions & ConnectionOptions,
    done?: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    const host = options.host ?? "";
    const target = new URL(`https://${host.includes(":") ? `[${host}]` : host}:${options.port ?? 443}`);
    // The request that waits for the connection ends by its own signal; the tunnel by its timeout.
    openTunnel(this.#proxy, target, this.#timeout, new AbortController().signal)
      .then((socket) => done?.(null, connect({ ...options, socket, servername: options.servername ?? host })))
      .catch((error: unknown) => done?.(error as Error, undefined as unknown as Duplex));
    return undefined;
  }
}
