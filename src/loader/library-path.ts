/**
 * The folders of `LD_LIBRARY_PATH` in an image's environment (`NAME=VALUE`): what its programs are started with there.
 * Relative ones, which mean the folder of a start, are left out; glibc also takes `;` between two.
 */
export function libraryPathOf(environment: readonly string[]): readonly string[] {
  const name = "LD_LIBRARY_PATH=";
  const value = environment.findLast((row) => row.startsWith(name))?.slice(name.length) ?? "";
  return value.split(/[:;]/).filter((folder) => folder.startsWith("/"));
}
