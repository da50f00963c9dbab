/** The first 16 bytes in the usual groups, as they are. */
export function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, 16)).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** A hash as a UUID of version 8 (RFC 9562): equal content, equal identity. */
export function hashUuid(hash: Uint8Array): string {
  const raw = Buffer.from(hash.subarray(0, 16));
  raw[6] = (raw[6]! & 0x0f) | 0x80;
  raw[8] = (raw[8]! & 0x3f) | 0x80;
  return formatUuid(raw);
}
