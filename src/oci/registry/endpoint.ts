import { isIP } from "node:net";
import { FlixwrapError } from "../../core/errors.ts";
import { LOOPBACK, NEVER, PUBLIC, reachOf, type Reach } from "../network/address.ts";
import { discard, type HttpAnswer } from "../network/http.ts";
import { reachOfHost } from "../network/reach.ts";
import { isDistrust } from "./errors.ts";

/** Where a registry's API is, and how far inside the network requests may lead. */
export interface Endpoint {
  /** Scheme, host and port. */
  readonly base: URL;
  /** For addresses that the registry names: redirects, token servers, foreign layers. */
  readonly reach: Reach;
  /** For the registry itself. */
  readonly ownReach: Reach;
}

/**
 * Loopback speaks plain HTTP unless it refuses; others do so only where certificates do not matter.
 * @param send one GET request, to an address no farther inside than `reach`.
 */
export async function findRegistryEndpoint(
  registry: string,
  options: { readonly tlsVerify?: boolean },
  send: (url: URL, reach: Reach) => Promise<HttpAnswer>,
): Promise<Endpoint> {
  const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
  const secure = new URL(`https://${host}`);
  const name = secure.hostname.replace(/^\[|\]$/g, "");
  const isLocal =
    name === "localhost" || name.endsWith(".localhost") || (isIP(name) !== 0 && reachOf(name) === LOOPBACK);
  const known = isLocal ? LOOPBACK : await reachOfHost(name);
  const reach = known ?? PUBLIC;
  // An address that the user typed is meant; a name must not lead farther inside later than it does now.
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
