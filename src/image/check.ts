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

/** What {@link checkFiles} has to tell. */
export interface Checked {
  readonly reports: readonly CheckedFile[];
  /** Why there is no report of some files (`host-no-image`: it is not there); the others' reports are whole. */
  readonly unread?: FlixwrapError;
}

/**
 * Checks images and folders as they lie on the disk, each by itself and all against each other. A damaged image is a
 * finding of its own: one of them keeps systemd from merging all the others (systemd#32762).
 * @throws FlixwrapError of the host's folder, `interrupted`, `usage`.
 */
export async function checkFiles(
  files: readonly string[],
  options: { readonly [K in "hosts" | "skip"]?: CheckOptions[K] | undefined } & { readonly host?: string | undefined },
  context: Context,
): Promise<Checked> {
  const { hosts, skip, host } = options;
  const checks: CheckOptions = {
    ...defined({ hosts, skip }),
    ...(host === undefined ? {} : { host: openHost(host, context) }),
  };
  const opened: OpenedExtension[] = [];
  const unread: FlixwrapError[] = [];
  try {
    const checked: CheckedFile[] = [];
    for (const file of files) {
      try {
        const one = await openExtension(file, context);
        opened.push(one);
        checked.push({ files: [file], findings: checkExtension(one.rootfs, one.fileName, checks) });
      } catch (error) {
        if (!(error instanceof FlixwrapError) || error.code === "interrupted") throw error;
        if (!["pack-damaged-image", "pack-no-image"].includes(error.code)) unread.push(error);
        else
          checked.push({ files: [file], findings: [found("damaged", "error", undefined, { problem: error.message })] });
      }
    }
    if (skip?.includes("collision") !== true) {
      const named = opened.map(({ fileName, rootfs }) => ({ name: namesOf(fileName).exact, rootfs }));
      const collisions = findCollisions(named);
      if (collisions.length > 0) checked.push({ files: opened.map(({ path }) => path), findings: collisions });
    }
    return { reports: checked, ...defined({ unread: oneOf(unread) }) };
  } finally {
    for (const one of opened) one.close();
  }
}

function oneOf(errors: readonly FlixwrapError[]): FlixwrapError | undefined {
  const [first] = errors;
  if (first === undefined || errors.length === 1) return first;
  return new FlixwrapError(first.code, {
    what: `cannot check ${errors.length} of the extensions`,
    items: errors.map(({ message }) => message),
  });
}
