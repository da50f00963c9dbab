import { writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Context } from "../core/context.ts";
import { formatButane } from "../extension/publish/butane.ts";
import { formatChecksums, parseChecksums } from "../extension/publish/checksums.ts";
import { type NamedText, type UpdateSource, madeBy, planUpdateFiles } from "../extension/publish/sysupdate.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { runCommand, tryCommand } from "../host/command.ts";
import { writeOutput } from "../host/output.ts";
import type { ImageFile } from "./pack.ts";

/** What goes beside an image, for those who publish it. */
export interface PublishOptions {
  readonly name: string;
  /** Writes SHA256SUMS.NAME with the image's line. */
  readonly checksums?: boolean;
  /** The day after which clients warn that SHA256SUMS.NAME is stale; writes it, too. */
  readonly bestBefore?: string;
  /** Signs SHA256SUMS.NAME with this key of GnuPG, detached, as SHA256SUMS.NAME.gpg. */
  readonly gpgKey?: string;
  /** Writes NAME.transfer and NAME.conf. */
  readonly update?: Omit<UpdateSource, "name" | "verify">;
  /** Writes NAME.butane.yaml; needs `update` for the URL. */
  readonly butane?: boolean;
  /** Other texts: bills of materials. */
  readonly papers?: readonly NamedText[];
}

/**
 * Writes the files that belong beside an image, each whole or not at all; files of other origin are never
 * replaced. Returns their paths.
 * @throws FlixwrapError `pack-checksums`, `pack-sysupdate`, `host-output-exists`, `host-tool-missing`.
 */
export async function publishImage(
  image: ImageFile,
  options: PublishOptions,
  context: Context,
): Promise<readonly string[]> {
  const folder = dirname(image.path);
  const { name, update } = options;
  const signed = options.gpgKey !== undefined;
  const transfers = update === undefined ? [] : planUpdateFiles({ ...update, name, verify: signed });
  const written: string[] = [];
  for (const { name: file, text } of [...transfers, ...butaneOf(image, options, transfers), ...(options.papers ?? [])])
    written.push(await writeText(join(folder, file), text));
  if (image.sha256 !== undefined && (options.checksums === true || signed || options.bestBefore !== undefined)) {
    const sums = join(folder, `SHA256SUMS.${name}`);
    const text = formatChecksums([{ name: basename(image.path), sha256: image.sha256 }], options.bestBefore);
    written.push(await writeText(sums, text));
    if (options.gpgKey !== undefined) written.push(await signFile(sums, options.gpgKey, context));
  }
  return written;
}

function butaneOf(image: ImageFile, options: PublishOptions, transfers: readonly NamedText[]): readonly NamedText[] {
  if (options.butane !== true || options.update === undefined || image.sha256 === undefined) return [];
  const url = options.update.url.replace(/\/*$/, "/");
  const update = transfers.find(({ name }) => name.endsWith(".conf"));
  const text = formatButane({
    name: options.name,
    image: basename(image.path),
    sha256: image.sha256,
    url,
    ...defined({ update }),
  });
  return [{ name: `${options.name}.butane.yaml`, text }];
}

const gpg = { tool: "gpg", package: "gnupg", purpose: "sign the index" };
const gpgHome = ({ env: { GNUPGHOME } }: Context) => (GNUPGHOME === undefined ? {} : { env: { GNUPGHOME } });

/**
 * Whether GnuPG has the secret part of a key, asked before anything is written.
 * @throws FlixwrapError `pack-gpg-key`, `host-tool-missing`.
 */
export async function checkKey(key: string, context: Context): Promise<void> {
  const args = ["--batch", "--quiet", "--list-secret-keys", "--", key];
  const { status } = await tryCommand({ ...gpg, args, ...gpgHome(context) }, context);
  if (status !== 0)
    throw new FlixwrapError("pack-gpg-key", {
      what: "GnuPG has no secret key of that name",
      where: key,
      hint: "gpg --list-secret-keys tells which it has",
    });
}

/** A detached signature beside a file, as systemd-sysupdate looks for it: `FILE.gpg`. */
export async function signFile(path: string, key: string, context: Context): Promise<string> {
  const output = `${path}.gpg`;
  // An OpenPGP signature packet (RFC 9580, 4.2): tag 2, old or new format.
  const isOurs = ({ head }: { head: Uint8Array }) => [0x88, 0x89, 0xc2].includes(head[0]!);
  await writeOutput({ path: output, kind: "file", isOurs }, async (temporary) => {
    const args = ["--batch", "--yes", "--quiet", "--local-user", key, "--output", temporary, "--detach-sign", path];
    await runCommand({ ...gpg, args, ...gpgHome(context) }, context);
  });
  return output;
}

/** Texts of ours begin with our mark, are checksums, or name flixwrap as their tool. */
async function writeText(path: string, text: string): Promise<string> {
  const isOurs = ({ head }: { head: Uint8Array }) => {
    const old = Buffer.from(head).toString("utf8");
    return old.startsWith(madeBy) || parseChecksums(old) !== undefined || /^\{[^]*"?flixwrap/.test(old.slice(0, 2000));
  };
  await writeOutput({ path, kind: "file", isOurs }, (temporary) => writeFile(temporary, text, { flag: "wx" }));
  return path;
}
