import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import type { RootPath } from "../core/paths.ts";
import { libraryPathOf } from "../loader/index.ts";
import { openImage } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import { explain } from "../wrap/explain/explain.ts";
import type { Explanation } from "../wrap/explain/explanation.ts";
import type { ConvertOptions } from "./request.ts";

/** Opens an image and explains what `flix` would take for these paths. */
export async function explainImage(
  source: string,
  paths: readonly RootPath[],
  options: Pick<ConvertOptions, "platform" | "creds" | "cacheDir" | "lib" | "dlopen" | "hwcaps">,
  context: Context,
): Promise<Explanation> {
  const opened = await openImage(parseReference(source), { ...options, context });
  try {
    return explain(
      opened.rootfs,
      paths,
      defined({
        libraryPath: libraryPathOf(opened.image.config.env),
        libraries: options.lib,
        dlopen: options.dlopen,
        hwcaps: options.hwcaps,
      }),
    );
  } finally {
    opened.close();
  }
}
