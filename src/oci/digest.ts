import { createHash } from "node:crypto";
import { FlixwrapError } from "../core/errors.ts";

/** `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits. */
export type Digest = `${Algorithm}:${string}`;
type Algorithm = "sha256" | "sha512";

/** @throws FlixwrapError `oci-bad-digest` for anything that could not name a file or be checked here. */
export function parseDigest(text: string): Digest {
  if (/^sha256:[0-9a-f]{64}$/.test(text) || /^sha512:[0-9a-f]{128}$/.test(text)) return text as Digest;
  throw new FlixwrapError("oci-bad-digest", {
    what: "not a digest",
    got: text.slice(0, 200) || "''",
    wanted: "sha256: and 64, or sha512: and 128, lower-case hexadecimal digits",
  });
}

/** `sha256` and the hexadecimal digits: what a blob's path is made of. */
export function splitDigest(digest: Digest): readonly [algorithm: string, hex: string] {
  const [algorithm, hex] = digest.split(":");
  return [algorithm!, hex!];
}

/** Digest of bytes in memory, by the algorithm of `like` when there is something to compare with. */
export function digestOf(bytes: Uint8Array, like: Digest | "sha256" = "sha256"): Digest {
  const algorithm = like.split(":")[0] as Algorithm;
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** A running digest that ends in a comparison. */
export interface DigestCheck {
  update(chunk: Uint8Array): void;
  /** @throws FlixwrapError `oci-digest-mismatch`. */
  finish(): void;
}

/** A check of chunks that come one after another; `what` names them in the error. */
export function checkDigest(wanted: Digest, what: string): DigestCheck {
  const hash = createHash(splitDigest(wanted)[0]);
  return {
    update: (chunk) => void hash.update(chunk),
    finish() {
      const got = `${splitDigest(wanted)[0]}:${hash.digest("hex")}`;
      if (got !== wanted) throw digestMismatch(what, got, wanted);
    },
  };
}

/** The error for content that is not what its digest says. */
export const digestMismatch = (what: string, got: string, wanted: string): FlixwrapError =>
  new FlixwrapError("oci-digest-mismatch", { what: `wrong digest of ${what}`, got, wanted });
