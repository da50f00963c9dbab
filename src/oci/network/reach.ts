import { lookup as dnsLookup } from "node:dns";
import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction, type Socket } from "node:net";
import { FlixwrapError } from "../../core/errors.ts";
import { NEVER, PUBLIC, reachOf, type Reach } from "./address.ts";

/** A URL's host that is an address itself. @throws FlixwrapError `oci-forbidden-address` beyond `reach`. */
export function refuseAddress(host: string, reach: Reach): void {
  const bare = host.replace(/^\[|\]$/g, "");
  if (isIP(bare) !== 0 && reachOf(bare) > reach) throw forbidden(host);
}

/**
 * For a request: the addresses that a name leads to at the moment of connecting, without those beyond `reach`. The
 * connection is made to one of these very addresses, so that no second answer counts.
 */
export const guardedLookup =
  (reach: Reach): LookupFunction =>
  (host, lookupOptions, callback) => {
    dnsLookup(host, { ...lookupOptions, all: true }, (error, addresses) => {
      const allowed = error === null ? addresses.filter(({ address }) => reachOf(address) <= reach) : [];
      if (allowed.length === 0) callback(error ?? forbidden(host), "", 0);
      else if (lookupOptions.all) callback(null, allowed);
      else callback(null, allowed[0]!.address, allowed[0]!.family);
    });
  };

/** How far inside the server stands that answers, and so may send us: its name may lead elsewhere by now. */
export function reachOfPeer({ remoteAddress }: Socket): Reach {
  // Gone already: nothing is known of it.
  const reach = remoteAddress === undefined ? PUBLIC : reachOf(remoteAddress);
  return reach === NEVER ? PUBLIC : reach;
}

const forbidden = (host: string): FlixwrapError & NodeJS.ErrnoException =>
  new FlixwrapError("oci-forbidden-address", {
    what: "a server sends us to an address inside the network that it has no business with",
    where: host,
  });

/** How far inside the host stands that somebody has named, and so may send us; undefined when its name leads nowhere. */
export async function reachOfHost(host: string): Promise<Reach | undefined> {
  const bare = host.replace(/^\[|\]$/g, "");
  try {
    const addresses = isIP(bare) === 0 ? await lookup(bare, { all: true }) : [{ address: bare }];
    const reaches = addresses.map(({ address }) => reachOf(address)).filter((reach) => reach !== NEVER);
    return reaches.length === 0 ? PUBLIC : (Math.max(...reaches) as Reach);
  } catch {
    return undefined;
  }
}
