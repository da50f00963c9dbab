import type { FlixwrapError } from "../../core/errors.ts";

/** The block every entry of a tar archive begins with, and its number fields. */
export const BLOCK = 512;

/** Builds the error for one place of an archive. */
export type Complain = (what: string, got?: string) => FlixwrapError;

/** Sum of the header's bytes with the field itself as spaces; old programs summed signed bytes. */
export function verifyChecksum(header: Uint8Array, complain: Complain): void {
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let at = 0; at < BLOCK; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = header[at]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const wanted = readNumber(header, 148, 8, complain);
  if (wanted !== unsigned && wanted !== signed) throw complain("wrong header checksum");
}

/** An octal field, or base-256 (GNU) when its first bit is set. */
export function readNumber(header: Uint8Array, start: number, length: number, complain: Complain): number {
  const first = header[start]!;
  if (first & 0x80) {
    const negative = (first & 0x40) !== 0;
    let value = BigInt(negative ? first - 256 : first & 0x3f);
    for (let at = start + 1; at < start + length; at++) value = (value << 8n) | BigInt(header[at]!);
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) throw complain("a number out of range");
    return Number(value);
  }
  let value = 0;
  let at = start;
  const end = start + length;
  while (at < end && (header[at] === 0x20 || header[at] === 0)) at++;
  for (; at < end && header[at] !== 0x20 && header[at] !== 0; at++) {
    const digit = header[at]! - 0x30;
    if (digit < 0 || digit > 7) throw complain("a field that is no octal number");
    value = value * 8 + digit;
  }
  return value;
}
