import { FlixwrapError } from "../../core/errors.ts";
import { type Closure, checkSymbols, checkVersions, explainMissing, wordMissingVersion } from "../../loader/index.ts";

/**
 * Refuses a closure that would fail on the host: libraries that are not there, symbol versions that their provider
 * lacks, symbols that nobody in the process defines. Everything of one kind is told at once.
 * @throws FlixwrapError `loader-missing`, `loader-library-missing`, `loader-version-missing`, `loader-symbol-missing`.
 */
export function verifyClosure(closure: Closure): void {
  const loaders = closure.missing.filter(({ searched }) => searched[0]?.rule === "interpreter");
  if (loaders.length > 0) {
    throw new FlixwrapError("loader-missing", {
      what: "the loader of a program is not in the image",
      hint: "add the C library's package to the image",
      items: loaders.map(({ name, neededBy }) => `${name}, needed by ${neededBy}`),
    });
  }
  if (closure.missing.length > 0) {
    const names = [...new Set(closure.missing.map(({ name }) => name))];
    throw new FlixwrapError("loader-library-missing", {
      what: `cannot find ${names.length === 1 ? "a library" : `${names.length} libraries`} in the image`,
      got: names.join(", "),
      hint: "add the packages that have them to the image",
      items: explainMissing(closure.missing),
    });
  }
  const versions = checkVersions(closure);
  if (versions.length > 0) {
    throw new FlixwrapError("loader-version-missing", {
      what: "libraries of the image do not fit together: the loader would refuse to start the program",
      hint: "update the image's packages together",
      items: versions.map(wordMissingVersion),
    });
  }
  const programs = new Set(closure.objects.filter(({ role }) => role === "program").map(({ node }) => node.path));
  // A plug-in by itself also uses what its program defines, so only programs are judged.
  const symbols = checkSymbols(closure).filter(({ main }) => programs.has(main));
  if (symbols.length > 0) {
    throw new FlixwrapError("loader-symbol-missing", {
      what: "a symbol is defined nowhere: the program would end when it is used",
      hint: "update the image's packages together",
      items: symbols.map(
        ({ symbol, version, object }) => `${symbol}${version === undefined ? "" : `@${version}`}, needed by ${object}`,
      ),
    });
  }
}
