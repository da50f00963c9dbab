import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { namesIn } from "./config-files.ts";

/** What a registry's certificate is checked with, and what we show of ourselves. */
export interface Trust {
  /** False accepts any certificate. */
  readonly verify: boolean;
  /** Undefined means Node's own authorities and NODE_EXTRA_CA_CERTS. */
  readonly secureContext?: SecureContext;
}

const systemBundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/**
 * Certificates for one registry: those of `certs.d` (containers-certs.d(5), docker's), those of a file, and the
 * system's, which Node does not look at by itself.
 * @throws FlixwrapError `oci-tls` when a file cannot be read.
 */
export function findTrust(
  registry: string,
  env: Context["env"],
  options: { readonly tlsVerify?: boolean; readonly caFile?: string },
): Trust {
  const verify = options.tlsVerify ?? true;
  const ca: Buffer[] = [];
  let cert: Buffer | undefined;
  let key: Buffer | undefined;
  for (const folder of certificateFolders(registry, env)) {
    for (const name of namesIn(folder)) {
      const read = (): Buffer => readFileSync(join(folder, name));
      if (name.endsWith(".crt")) ca.push(read());
      if (name.endsWith(".cert")) cert ??= read();
      if (name.endsWith(".key")) key ??= read();
    }
  }
  const named = options.caFile ?? env.SSL_CERT_FILE;
  if (named !== undefined) ca.push(readBundle(named));
  const system = verify ? systemBundle() : undefined;
  if (system !== undefined) ca.push(system);
  if (ca.length === 0 && cert === undefined) return { verify };
  const extra = env.NODE_EXTRA_CA_CERTS === undefined ? [] : [readBundle(env.NODE_EXTRA_CA_CERTS)];
  // Where there is a system bundle it has the usual authorities; else Node's are taken along.
  const usual = system === undefined ? rootCertificates : [];
  try {
    return { verify, secureContext: createSecureContext({ ca: [...usual, ...extra, ...ca], cert, key }) };
  } catch (cause) {
    throw new FlixwrapError(
      "oci-tls",
      { what: "cannot read the certificates", where: registry, got: (cause as Error).message },
      { cause },
    );
  }
}

const certificateFolders = (registry: string, env: Context["env"]): string[] =>
  [env.HOME && join(env.HOME, ".config/containers/certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d"]
    .filter((folder): folder is string => folder !== undefined && folder !== "")
    .map((folder) => join(folder, registry));

function systemBundle(): Buffer | undefined {
  for (const path of systemBundles) {
    try {
      return readFileSync(path);
    } catch {
      // The next system has it elsewhere.
    }
  }
  return undefined;
}

function readBundle(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new FlixwrapError(
      "oci-tls",
      { what: "cannot read the certificates", where: path, got: (cause as Error).message },
      { cause },
    );
  }
}
