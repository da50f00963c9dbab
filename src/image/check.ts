import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { type CheckOptions, checkExtension } from "../extension/check/check.ts";
import { findCollisions } from "../extension/check/collisions.ts";
import { type Finding, found } from "../extension/check/finding.ts";
import { namesOf } from "../extension/check/rules-release.ts";
import { openHost } from "./host.ts";
import { type OpenedExtension, openExtension } from "./open.ts";

/** What was found in one file, or, of collisions, in all of them. */
export interface CheckedFile {
  readonly files: readonly string[];
  readonly findings: readonly Finding[];
}

/**
 * Checks images and folders as they lie on the disk, each by itself and all against each other. A damaged image is a
 * finding of its own: one of them keeps systemd from merging all the others (systemd#32762).
 * @throws FlixwrapError `host-no-image` for a path that is not there, `usage`.
 */
export async function checkFiles(
  files: readonly string[],
  options: { readonly [K in "hosts" | "skip"]?: CheckOptions[K] | undefined } & { readonly host?: string | undefined },
  context: Context,
): Promise<readonly CheckedFile[]> {
  const { hosts, skip, host } = options;
  const checks: CheckOptions = {
    ...defined({ hosts, skip }),
    ...(host === undefined ? {} : { host: openHost(host, context) }),
  };
  const opened: OpenedExtension[] = [];
  try {
    const checked: CheckedFile[] = [];
    for (const file of files) {
      try {
        const one = await openExtension(file, context);
        opened.push(one);
        checked.push({ files: [file], findings: checkExtension(one.rootfs, one.fileName, checks) });
      } catch (error) {
        if (!(error instanceof FlixwrapError) || !["pack-damaged-image", "pack-no-image"].includes(error.code))
          throw error;
        checked.push({ files: [file], findings: [found("damaged", "error", undefined, { problem: error.message })] });
      }
    }
    if (skip?.includes("collision")) return checked;
    const collisions = findCollisions(
      opened.map(({ fileName, rootfs }) => ({ name: namesOf(fileName).exact, rootfs })),
    );
    return collisions.length === 0 ? checked : [...checked, { files, findings: collisions }];
  } finally {
    for (const one of opened) one.close();
  }
}
