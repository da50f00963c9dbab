import { BlockList, isIPv6 } from "node:net";

/**
 * How far inside an address lies. A registry may send us (by redirect, token realm or foreign layer) to
 * addresses that lie no farther inside than its own; never to link-local ones, where clouds keep secrets.
 */
export type Reach = 0 | 1 | 2 | 3;
/** The internet. */
export const PUBLIC = 0;
/** A network of one's own. */
export const PRIVATE = 1;
/** This machine. */
export const LOOPBACK = 2;
/** Where no request may lead, unless the user typed the very address. */
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
  [PRIVATE, "ipv4", "192.0.0.0", 24],
  [PRIVATE, "ipv6", "fec0::", 10],
  [NEVER, "ipv4", "169.254.0.0", 16],
  [NEVER, "ipv6", "fe80::", 10],
  // Where Amazon, Google, Alibaba, Oracle and Azure keep the secrets of their machines besides.
  [NEVER, "ipv6", "fd00:ec2::254", 128],
  [NEVER, "ipv6", "fd20:ce::254", 128],
  [NEVER, "ipv4", "100.100.100.200", 32],
  [NEVER, "ipv4", "192.0.0.192", 32],
  [NEVER, "ipv4", "168.63.129.16", 32],
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

/** Of an IP address, and of the IPv4 address that stands in an IPv6 one: whoever translates leads there. */
export function reachOf(address: string): Reach {
  const bare = address.split("%")[0]!;
  const inside = isIPv6(bare) ? insideOf(bare) : undefined;
  const reaches = [bare, ...(inside === undefined ? [] : [inside])].map(
    (one) => lists.find(([, list]) => list.check(one, isIPv6(one) ? "ipv6" : "ipv4"))?.[0] ?? PUBLIC,
  );
  return Math.max(...reaches) as Reach;
}

/** Where the IPv4 address stands in the eight groups: mapped, translated (RFC 6052, 8215, 2765), 6to4 (RFC 3056), compatible. */
const embeddings: readonly (readonly [prefix: RegExp, group: number])[] = [
  [/^0:0:0:0:0:(ffff|0):/, 6],
  [/^0:0:0:0:ffff:0:/, 6],
  [/^64:ff9b:(0:0:0:0|1:\w+:\w+:\w+):/, 6],
  [/^2002:/, 1],
];

function insideOf(address: string): string | undefined {
  const groups = groupsOf(address);
  const text = groups.map((group) => group.toString(16)).join(":");
  const at = embeddings.find(([prefix]) => prefix.test(text))?.[1];
  if (at === undefined) return undefined;
  const [high, low] = [groups[at]!, groups[at + 1]!];
  // `::` and `::1` are no IPv4 address.
  if (text.startsWith("0:0:0:0:0:0:0:")) return undefined;
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The eight numbers of an IPv6 address, as URL, DNS or a person may write it. */
function groupsOf(address: string): number[] {
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a, b, c, d] = bytes.slice(0, 4).map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [before = "", after] = plain.split("::");
  const numbers = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((one) => Number.parseInt(one, 16));
  const [head, tail] = [numbers(before), numbers(after ?? "")];
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
}
