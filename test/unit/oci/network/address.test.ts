import { expect, it } from "vitest";
import { LOOPBACK, NEVER, PRIVATE, PUBLIC, reachOf, type Reach } from "../../../../src/oci/network/address.ts";

it.each<[string, Reach]>([
  ["8.8.8.8", PUBLIC],
  ["2606:4700::1111", PUBLIC],
  ["172.32.0.1", PUBLIC],
  ["10.1.2.3", PRIVATE],
  ["172.31.255.255", PRIVATE],
  ["192.168.0.1", PRIVATE],
  ["100.64.0.1", PRIVATE],
  ["fd12::1", PRIVATE],
  ["fec0::1", PRIVATE],
  ["127.0.0.1", LOOPBACK],
  ["127.255.255.254", LOOPBACK],
  ["::1", LOOPBACK],
  ["0.0.0.0", NEVER],
  ["::", NEVER],
  ["169.254.169.254", NEVER],
  ["fe80::1%eth0", NEVER],
  ["224.0.0.1", NEVER],
  ["255.255.255.255", NEVER],
  // Other clouds' places of secrets.
  ["100.100.100.200", NEVER],
  ["192.0.0.192", NEVER],
  ["168.63.129.16", NEVER],
  ["fd00:ec2::254", NEVER],
  ["fd20:ce::254", NEVER],
  // The same in IPv6: mapped, translated, tunnelled, in every spelling.
  ["::ffff:127.0.0.1", LOOPBACK],
  ["::ffff:7f00:1", LOOPBACK],
  ["0:0:0:0:0:FFFF:7F00:0001", LOOPBACK],
  ["::ffff:a9fe:a9fe", NEVER],
  ["::ffff:0.0.0.0", NEVER],
  ["::127.0.0.1", LOOPBACK],
  ["::a9fe:a9fe", NEVER],
  ["::ffff:0:169.254.169.254", NEVER],
  ["64:ff9b::a9fe:a9fe", NEVER],
  ["64:ff9b::10.0.0.1", PRIVATE],
  ["64:ff9b:1::169.254.169.254", NEVER],
  ["2002:7f00:1::", LOOPBACK],
  ["2002:a9fe:a9fe::1", NEVER],
  ["64:ff9b::808:808", PUBLIC],
  ["::ffff:8.8.8.8", PUBLIC],
])("%s has reach %d", (address, reach) => {
  expect(reachOf(address)).toBe(reach);
  // As URL writes it.
  if (address.includes("%")) return;
  const host = new URL(`http://${address.includes(":") ? `[${address}]` : address}/`).hostname;
  expect(reachOf(host.replace(/^\[|\]$/g, ""))).toBe(reach);
});

it.each(["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/"])("%s is the loopback", (url) => {
  expect(reachOf(new URL(url).hostname)).toBe(LOOPBACK);
});
