import { FlixwrapError } from "../../core/errors.ts";
import { baseName, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { type ElfFile, isElf, readDefinedVersions, readElf } from "../../elf/index.ts";
import type { LateRequest, LoadedObject } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { matchNodes } from "./patterns.ts";

/** What a well-known object loads by dlopen(3) without declaring it, by names that the loader's search finds. */
interface KnownLoad {
  /** Of the object's file name. */
  readonly object: RegExp;
  readonly names: (rootfs: Rootfs, elf: ElfFile) => readonly string[];
  readonly why: string;
}

const knownLoads: readonly KnownLoad[] = [
  {
    // sysdeps/nptl/libgcc_s.h: without it pthread_exit and pthread_cancel abort the process.
    object: /^libc\.so\.6(\.1)?$|^libpthread\.so\.0$/,
    names: () => ["libgcc_s.so.1"],
    why: "ends threads",
  },
  {
    // nss/nss_module.c: libnss_SERVICE.so.2 for the services of nsswitch.conf; since 2.34 files and dns are built in.
    object: /^libc\.so\.6(\.1)?$/,
    names: (rootfs, libc) => {
      const isBuiltIn = readDefinedVersions(libc).some(({ name }) => name === "GLIBC_2.34");
      const services = nssServices(rootfs).filter((service) => !isBuiltIn || !/^(files|dns)$/.test(service));
      return services.map((service) => `libnss_${service}.so.2`);
    },
    why: "looks up users and hosts (nsswitch.conf)",
  },
];

/** Requests of a known object for libraries that the root has. */
export function knownRequests(
  rootfs: Rootfs,
  { node, elf }: Pick<LoadedObject, "node" | "elf">,
): readonly LateRequest[] {
  const name = elf.soname ?? baseName(node.path);
  return knownLoads
    .filter(({ object }) => object.test(name))
    .flatMap(({ names, why }) =>
      // Looked for beside the library itself: what the image does not have there, it does not use.
      names(rootfs, elf)
        .filter((wanted) => besides(node.path).some((folder) => rootfs.resolve(join(folder, wanted)) !== undefined))
        .map((wanted) => ({ names: [wanted], required: false, why })),
    );
}

/** The folder of a library; in a root whose /lib is no link, that of the same name in /usr, too. */
function besides(library: RootPath): readonly RootPath[] {
  const folder = parentOf(library);
  return /^\/lib\w*(\/|$)/.test(folder) ? [folder, rootPath(`/usr${folder}`)] : [folder];
}

function nssServices(rootfs: Rootfs): readonly string[] {
  const node = rootfs.resolve(rootPath("/etc/nsswitch.conf"));
  const text = node?.type === "file" ? Buffer.from(rootfs.open(node).read(0, 65_536)).toString("utf8") : "";
  const services = text
    .split("\n")
    .map((line) => line.replace(/#.*/, ""))
    .flatMap(
      (line) =>
        /^\s*\w+:(.*)$/
          .exec(line)?.[1]
          ?.replaceAll(/\[[^\]]*\]/g, " ")
          .trim()
          .split(/\s+/) ?? [],
    );
  // What glibc takes for a database that the file does not name.
  return [...new Set([...services, "files", "dns"])].filter((service) => /^\w+$/.test(service));
}

/**
 * The libraries of the root that a `--lib` pattern means, as paths under which a dlopen(3) may ask for them: every
 * name that matches, and the soname beside it when the root has it there.
 * @throws FlixwrapError `wrap-lib-missing` when nothing matches.
 */
export function findLibraries(rootfs: Rootfs, pattern: string): readonly RootPath[] {
  const found: RootPath[] = [];
  for (const node of matchNodes(rootfs, pattern)) {
    const file = rootfs.resolve(node.path);
    if (file?.type !== "file" || !isElf(rootfs.open(file))) continue;
    found.push(node.path);
    const { soname } = readElf(rootfs.open(file), file.path);
    if (soname !== undefined && !soname.includes("/")) {
      const beside = join(node.path, "..", soname);
      if (rootfs.resolve(beside)?.identity === file.identity) found.push(beside);
    }
  }
  if (found.length > 0) return [...new Set(found)];
  throw new FlixwrapError("wrap-lib-missing", {
    what: "no library in the image matches",
    got: pattern,
    wanted: "an absolute path or pattern such as /usr/lib/*/libfoo.so*",
  });
}
