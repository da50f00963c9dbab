import { BlockList, isIPv6 } from "node:net";

/**
 * How far inside an address lies. A registry may send us (by redirect, token realm or foreign layer) to
 * addresses that lie no farther inside than its own; never to link-local ones, where clouds keep secrets.
 */
export type Reach = 0 | 1 | 2 | 3;
export const PUBLIC = 0;
export const PRIVATE = 1;
export const LOOPBACK = 2;
export const NEVER = 3;

/** IANA's special-purpose address registries (RFC 6890 and its successors). */
const blocks: readonly (readonly [Reach, "ipv4" | "ipv6", string, number])[] = [
  [LOOPBACK, "ipv4", "127.0.0.0", 8],
  [LOOPBACK, "ipv6", "::1", 128],
  [PRIVATE, "ipv4", "10.0.0.0", 8],
  [PRIVATE, "ipv4", "172.16.0.0", 12],
  [PRIVATE, "ipv4", "192.168.0.0", 16],
  [PRIVATE, "ipv4", "100.64.0.0", 10],
  [PRIVATE, "ipv4", "198.18.0.0", 15],
  [PRIVATE, "ipv6", "fc00::", 7],
  [NEVER, "ipv4", "169.254.0.0", 16],
  [NEVER, "ipv6", "fe80::", 10],
  [NEVER, "ipv6", "fd00:ec2::254", 128],
  [NEVER, "ipv4", "0.0.0.0", 8],
  [NEVER, "ipv6", "::", 128],
  [NEVER, "ipv4", "224.0.0.0", 3],
  [NEVER, "ipv6", "ff00::", 8],
];

const lists = ([NEVER, LOOPBACK, PRIVATE] as const).map((reach) => {
  const list = new BlockList();
  for (const [of, family, network, prefix] of blocks) if (of === reach) list.addSubnet(network, prefix, family);
  return [reach, list] as const;
});

/** Of an IP address, IPv4 inside IPv6 included. */
export function reachOf(address: string): Reach {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? hexMapped(address);
  const bare = (mapped ?? address).split("%")[0]!;
  return lists.find(([, list]) => list.check(bare, isIPv6(bare) ? "ipv6" : "ipv4"))?.[0] ?? PUBLIC;
}

/** `::ffff:7f00:1`, as URL writes a mapped address. */
function hexMapped(address: string): string | undefined {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join(".");
}
