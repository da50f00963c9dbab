import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Digest } from "../../../../src/oci/digest.ts";
import { checkDigestInThread } from "../../../../src/oci/cache/hash-thread.ts";

/** Many chunks of every size, more than the thread takes ahead, and one larger than a piece of its memory. */
const chunks = [1, 0, 70_000, 1 << 20, 3_000_001, ...Array.from({ length: 40 }, (_, n) => n * 1000)].map((size) =>
  randomBytes(size),
);

describe.each(["sha256", "sha512"])("%s in another thread", (algorithm) => {
  const hash = createHash(algorithm);
  for (const chunk of chunks) hash.update(chunk);
  const right = `${algorithm}:${hash.digest("hex")}` as Digest;

  it("is the digest of all chunks in their order", async () => {
    const check = checkDigestInThread(right, "it");
    for (const chunk of chunks) await check.update(chunk);
    await check.finish();
    check.close();
  });

  it("is told when it is another one", async () => {
    const check = checkDigestInThread(right, "it");
    for (const chunk of [...chunks].reverse()) await check.update(chunk);
    await expect(check.finish()).rejects.toMatchObject({ code: "oci-digest-mismatch" });
    check.close();
  });
});
