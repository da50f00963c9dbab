import { decodeName } from "../../core/names.ts";
import type { Complain } from "./header.ts";

/** One extended header: records by key, extended attributes apart, values as bytes. */
export interface PaxRecords {
  readonly values: ReadonlyMap<string, Uint8Array>;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/**
 * Reads `LENGTH KEY=VALUE\n` records (POSIX.1-2024, pax, "pax Extended Header"). Values are bytes: a file
 * capability is no text.
 */
export function readPaxRecords(body: Uint8Array, complain: Complain): PaxRecords {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const values = new Map<string, Uint8Array>();
  const xattrs = new Map<string, Uint8Array>();
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 || space - at > 10 ? "" : bytes.toString("latin1", at, space);
    const end = at + Number(digits);
    if (!/^[1-9]\d*$/.test(digits) || end > bytes.length || end <= space + 1 || bytes[end - 1] !== 0x0a) {
      throw complain("a pax record of wrong length");
    }
    const equals = bytes.indexOf(0x3d, space + 1);
    if (equals === -1 || equals >= end || equals === space + 1) throw complain("a pax record without a key");
    const key = decodeName(bytes.subarray(space + 1, equals));
    const value = bytes.subarray(equals + 1, end - 1);
    const xattr = xattrOf(key, value);
    if (xattr !== undefined) {
      if (!isForeign(xattr.name)) xattrs.set(xattr.name, xattr.value);
    } else if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
      // Sparse format 0.0 repeats its keys in pairs; as one list it is format 0.1.
      const list = values.get("GNU.sparse.map");
      values.set("GNU.sparse.map", list === undefined ? value : Buffer.concat([list, Buffer.from(","), value]));
    } else if (value.length === 0) {
      values.delete(key);
    } else {
      values.set(key, value);
    }
    at = end;
  }
  return { values, xattrs };
}

/** star's and GNU tar's record is raw, libarchive's is URL-escaped and base64; both stand in bsdtar's archives. */
function xattrOf(key: string, value: Buffer): { name: string; value: Uint8Array } | undefined {
  if (key.startsWith("SCHILY.xattr.")) return { name: key.slice("SCHILY.xattr.".length), value: Buffer.from(value) };
  if (!key.startsWith("LIBARCHIVE.xattr.")) return undefined;
  const name = key.slice("LIBARCHIVE.xattr.".length).replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16));
  });
  return { name, value: Buffer.from(value.toString("latin1"), "base64") };
}

/** Of the builder's own storage and policy, not of the image: an overlay mark would hide files of the host. */
const isForeign = (name: string): boolean =>
  name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.") || name === "security.selinux";
