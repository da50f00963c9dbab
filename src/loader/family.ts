import { FlixwrapError } from "../core/errors.ts";
import type { ElfFile } from "../elf/file.ts";
import { readCompiledIn } from "./compiled-in.ts";
import type { LoaderPolicy } from "./policy.ts";

/**
 * Whose loader an object is, by the strings compiled into it; its name may be anything.
 * @throws FlixwrapError `loader-unknown` for neither.
 */
export function loaderFamily(elf: ElfFile): LoaderPolicy["family"] {
  const built = readCompiledIn(elf.source);
  if (built !== undefined) return built.family;
  throw new FlixwrapError("loader-unknown", { what: "a loader that is neither glibc's nor musl's", where: elf.name });
}
