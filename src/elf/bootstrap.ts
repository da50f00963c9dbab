import { DF_1, PT } from "./constants.ts";
import type { ElfFile } from "./file.ts";
import { refused } from "./problems.ts";
import { findDynamicSymbol } from "./symbols.ts";

/**
 * Programs that relocate themselves before anything else run assert that they have no run path and no flags but BIND_NOW
 * (glibc elf/get-dynamic-info.h, RTLD_BOOTSTRAP and STATIC_PIE_BOOTSTRAP): with one they would not start any more.
 */
export function refuseBootstrap(file: ElfFile, what: string): void {
  if (file.interpreter !== undefined || file.needed.length > 0) return;
  const isStaticPie = (file.flags1 & DF_1.PIE) !== 0;
  if (!isStaticPie && !definesLoaderState(file)) return;
  throw refused("elf-bootstrap", file, `a ${isStaticPie ? "static program" : "loader"} does not start with ${what}`, {
    hint: "it searches for no library of its own",
  });
}

/** `_rtld_global` is what only glibc's loader has. */
function definesLoaderState(file: ElfFile): boolean {
  if (!file.segments.some(({ type }) => type === PT.DYNAMIC)) return false;
  return findDynamicSymbol(file, "_rtld_global")?.defined === true;
}
