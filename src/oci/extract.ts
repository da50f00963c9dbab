import type { Context } from "../core/context.ts";
import { runChild } from "./child.ts";

/**
 * Unpacks a tar that this program made into an empty folder. GNU tar does it: Node can make neither devices nor
 * extended attributes. `-P` leaves links as they are: no path of ours leads out of the folder.
 * @throws Error with tar's complaints, FlixwrapError `oci-tool-missing`, `interrupted`.
 */
export async function extractTar(
  tar: Iterable<Uint8Array>,
  folder: string,
  context: Context,
  options: {
    readonly owners: boolean;
    /** Words before the command, which enter a namespace. */
    readonly enter?: readonly string[];
  },
): Promise<void> {
  const words =
    "tar -xPpf - --numeric-owner --delay-directory-restore --xattrs --xattrs-include=* --no-acls --no-selinux".split(
      " ",
    );
  const owners = options.owners ? "--same-owner" : "--no-same-owner";
  const argv = [...(options.enter ?? []), ...words, owners, "-C", folder];
  const command = { argv, purpose: "write a folder", package: "tar" };
  const { status, complaints } = await runChild(command, context, { input: tar });
  if (status !== 0) throw new Error(complaints.slice(0, 3).join("; ") || `tar ended with status ${status}`);
}
