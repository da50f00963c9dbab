import type { Context } from "../core/context.ts";
import { type CheckOptions, checkExtension } from "../extension/check/check.ts";
import { findCollisions } from "../extension/check/collisions.ts";
import type { Finding } from "../extension/check/finding.ts";
import { openFolder } from "../oci/folder-rootfs.ts";
import { type OpenedExtension, openExtension } from "./open.ts";

/** What was found in one file; collisions of several stand under a name of all of them. */
export interface CheckedFile {
  readonly file: string;
  readonly findings: readonly Finding[];
}

/**
 * Checks images and folders as they lie on the disk, each by itself and all against each other.
 * @throws FlixwrapError `pack-no-image`, `pack-damaged-image`, `usage`.
 */
export async function checkFiles(
  files: readonly string[],
  options: { readonly [K in "hosts" | "skip"]?: CheckOptions[K] | undefined } & { readonly host?: string | undefined },
  context: Context,
): Promise<readonly CheckedFile[]> {
  const { hosts, skip, host } = options;
  const checks: CheckOptions = {
    ...(hosts === undefined ? {} : { hosts }),
    ...(skip === undefined ? {} : { skip }),
    ...(host === undefined ? {} : { host: openFolder(host, context) }),
  };
  const opened: OpenedExtension[] = [];
  try {
    for (const file of files) opened.push(await openExtension(file, context));
    const checked = opened.map(({ path, fileName, rootfs }) => ({
      file: path,
      findings: checkExtension(rootfs, fileName, checks),
    }));
    const collisions = findCollisions(
      opened.map(({ fileName, rootfs }) => ({ name: fileName.replace(/\.raw$/, ""), rootfs })),
    );
    return collisions.length === 0 ? checked : [...checked, { file: files.join(" + "), findings: collisions }];
  } finally {
    for (const one of opened) one.close();
  }
}
