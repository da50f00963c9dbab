import { defined } from "../core/defined.ts";
import type { Release } from "../extension/release.ts";
import type { ConvertOptions } from "./request.ts";

/** The fields of extension-release that the command line decides, whoever plans the extension. */
export const releaseFields = (options: ConvertOptions): Partial<Omit<Release, "name" | "architecture" | "notes">> =>
  defined({
    os: options.os,
    versionId: options.versionId,
    sysextLevel: options.sysextLevel,
    scope: options.scope,
    restartUnits: options.restartUnit,
    reloadOrRestartUnits: options.reloadOrRestartUnit,
    anyFileName: options.anyFileName,
  });
