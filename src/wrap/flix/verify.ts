import type { ByteSource } from "../../core/bytes.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { baseName, rootPath } from "../../core/paths.ts";
import { type Closure, checkSymbols, checkVersions, explainMissing, wordMissingVersion } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/**
 * Refuses a closure that would fail on the host: libraries that are not there, symbol versions that their provider
 * lacks, symbols that nobody in the process defines. Everything of one kind is told at once.
 * @throws FlixwrapError `loader-missing`, `loader-library-missing`, `loader-version-missing`, `loader-symbol-missing`.
 */
export function verifyClosure(rootfs: Rootfs, closure: Closure): void {
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
      hint: findElsewhere(rootfs, closure) ?? "add the packages that have them to the image",
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

/** Where the root has one of the missing libraries all the same, and how its loader gets to know. */
function findElsewhere(rootfs: Rootfs, { missing, objects }: Closure): string | undefined {
  for (const { path } of rootfs.walk(rootPath("/"))) {
    const request = missing.find(({ name }) => name === baseName(path));
    const asker = request && objects.find(({ node }) => node.path === request.neededBy);
    const file = asker && rootfs.resolve(path);
    if (file?.type !== "file" || machineIn(rootfs.open(file)) !== machineIn(asker!.elf.source)) continue;
    return `the image has ${path}, where its loader does not look: name the folder in the image's LD_LIBRARY_PATH, or by --run in /etc/ld.so.conf (glibc) or /etc/ld-musl-ARCH.path (musl)`;
  }
  return undefined;
}

/** Class, byte order and machine in an ELF header (gABI, e_ident and e_machine). */
function machineIn(source: ByteSource): string {
  const header = Buffer.from(source.read(0, 20));
  return header.subarray(4, 6).toString("hex") + header.subarray(18, 20).toString("hex");
}
