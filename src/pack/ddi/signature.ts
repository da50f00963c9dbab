import { X509Certificate, createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { runCommand } from "../../host/command.ts";
import { wordSystemError } from "../../host/system-error.ts";
import { withTempFolder } from "../../host/temp.ts";

/** Files in PEM: who signs a DDI's root hash. */
export interface SigningKey {
  readonly privateKey: string;
  readonly certificate: string;
}

/** systemd-repart's size of the partition; its reader takes up to 4 MiB. */
const PARTITION = 16_384;

/**
 * The content of a verity signature partition: JSON with the root hash, the certificate's fingerprint and a detached
 * PKCS#7 signature of the hash's hex text, filled up with zeros (Discoverable Partitions Specification).
 * @throws FlixwrapError `pack-key` for unusable files, `host-tool-missing`, `host-tool-failed`.
 */
export async function signRootHash(rootHash: Uint8Array, key: SigningKey, context: Context): Promise<Uint8Array> {
  const hex = Buffer.from(rootHash).toString("hex");
  const certificate = await readCertificate(key.certificate);
  const signature = await withTempFolder(context, async (folder) => {
    const [input, output] = [join(folder, "hash"), join(folder, "signature")];
    await writeFile(input, hex);
    const args = ["smime", "-sign", "-nocerts", "-noattr", "-binary", "-md", "sha256", "-outform", "DER"];
    const files = ["-signer", key.certificate, "-inkey", key.privateKey, "-in", input, "-out", output];
    await runCommand(
      { tool: "openssl", package: "openssl", purpose: "sign the image", args: [...args, ...files] },
      context,
    );
    return readFile(output);
  });
  const json = JSON.stringify({
    rootHash: hex,
    certificateFingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
    signature: signature.toString("base64"),
  });
  if (json.length > PARTITION)
    throw new FlixwrapError("pack-key", { what: "the signature is too long", got: `${json.length} bytes` });
  return Buffer.from(json.padEnd(PARTITION, "\0"), "latin1");
}

async function readCertificate(path: string): Promise<X509Certificate> {
  const text = await readFile(path).catch((error: unknown) => {
    throw wordSystemError(error, "host-key", "cannot read the certificate", path);
  });
  try {
    return new X509Certificate(text);
  } catch (error) {
    throw new FlixwrapError("pack-key", { what: "no X.509 certificate", where: path }, { cause: error });
  }
}
