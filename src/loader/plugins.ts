import { type RootPath, baseName, join, rootPath } from "../core/paths.ts";
import { isElf } from "../elf/file.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import type { Closure } from "./closure.ts";

/** A folder of plug-ins that an object names, and that no DT_NEEDED entry leads to. */
export interface PluginFolder {
  /** Real path of the object. */
  readonly object: RootPath;
  /** As the object spells it. */
  readonly folder: RootPath;
  /** What the plug-ins are for, and how else they can be found: `character sets (GCONV_PATH)`. */
  readonly why: string;
  /** The shared objects that stand in it and are not in the closure. */
  readonly libraries: readonly RootPath[];
}

/** What is known of folders by their names. The variables are those of the libraries' own manual pages. */
const purposes: readonly (readonly [folder: RegExp, why: string])[] = [
  [/\/gconv$/, "character sets of iconv(3) (GCONV_PATH)"],
  [/\/security$/, "PAM modules, chosen by /etc/pam.d"],
  [/\/ossl-modules$/, "OpenSSL providers, chosen by openssl.cnf (OPENSSL_MODULES)"],
  [/\/engines-[\d.]+$/, "OpenSSL engines, chosen by openssl.cnf (OPENSSL_ENGINES)"],
  [/\/krb5\/plugins\b/, "Kerberos plug-ins, chosen by krb5.conf"],
  [/\/sasl2$/, "SASL mechanisms (SASL_PATH)"],
  [/\/xtables$/, "extensions of iptables (XTABLES_LIBDIR)"],
  [/\/gio\/modules$/, "GIO modules: TLS, proxies, settings (GIO_MODULE_DIR)"],
  [/\/gdk-pixbuf-2\.0\/.*loaders$/, "image loaders (GDK_PIXBUF_MODULE_FILE)"],
  [/\/gstreamer-1\.0$/, "GStreamer elements (GST_PLUGIN_SYSTEM_PATH)"],
  [/\/pkcs11$/, "PKCS#11 modules"],
  [/\/ImageMagick[^/]*\/.*modules/, "ImageMagick coders and filters (MAGICK_CODER_MODULE_PATH)"],
  [/\/(?:nginx\/modules|apache2\/modules)$/, "modules of the server, chosen by its configuration"],
  [/\/postgresql\/.*lib$/, "PostgreSQL extensions (dynamic_library_path)"],
  [/\/perl/, "compiled Perl modules (PERL5LIB)"],
  [/\/lib-dynload$/, "compiled modules of Python's library"],
  [/\/sudo$/, "sudo's plug-ins, chosen by sudo.conf"],
];

/** Folders that objects put together at run time: object's file name -> folder. */
const computed: readonly (readonly [object: RegExp, folder: string])[] = [
  [/^(?:lib)?python(3\.\d+)\b/, "/usr/lib/python$1/lib-dynload"],
];

/**
 * Finds the plug-in folders of a closure: every path in an object's strings that is a folder of the root with shared
 * objects of its own in it. A report for people and for `--lib`: whether a plug-in is used, only a configuration knows.
 */
export function findPluginFolders(rootfs: Rootfs, closure: Closure): readonly PluginFolder[] {
  const loaded = new Set(closure.objects.map(({ node }) => node.identity));
  const searched = new Set(closure.objects.flatMap(({ foundAs }) => foundAs.map((path) => folderOf(rootfs, path))));
  const contents = new Map<RootPath, readonly RootPath[]>();
  const librariesIn = (folder: RootPath): readonly RootPath[] => {
    const known = contents.get(folder);
    if (known !== undefined) return known;
    const real = rootfs.resolve(folder);
    // A folder of ordinary libraries is no folder of plug-ins, whoever names it.
    const ordinary =
      real?.type !== "directory" || searched.has(real.path) || /^(?:\/usr)?(?:\/local)?\/lib\w*$/.test(folder);
    const found = ordinary ? [] : sharedObjects(rootfs, folder, purposeOf(folder) !== undefined, loaded);
    contents.set(folder, found);
    return found;
  };
  return closure.objects
    .filter(({ role }) => role !== "interpreter")
    .flatMap(({ node, elf }) => {
      const named = [...pathsIn(elf.source.read(0, largestObject)), ...computedFolders(node)];
      return [...new Set(named)].flatMap((folder): PluginFolder[] => {
        const libraries = librariesIn(folder);
        if (libraries.length === 0) return [];
        const why = purposeOf(folder) ?? "named in the object";
        return [{ object: node.path, folder, why, libraries }];
      });
    });
}

const largestObject = 256 * 1024 * 1024;

function computedFolders(node: RootNode): RootPath[] {
  const name = baseName(node.path);
  return computed.flatMap(([object, folder]) => {
    const match = object.exec(name);
    return match === null ? [] : [rootPath(folder.replace("$1", match[1] ?? ""))];
  });
}

/** Absolute paths among the strings, alone or quoted or in a list: `MODULESDIR: "/usr/lib/ossl-modules"`, `/a:/b`. */
function pathsIn(bytes: Uint8Array): RootPath[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  const found = text.matchAll(/(?<=[\0":;=, ])(?:\/[\w.+@-]{1,64}){2,12}\/?(?=[\0":;, ])/g);
  return [...new Set(Array.from(found, ([path]) => rootPath(path)))];
}

const purposeOf = (folder: RootPath): string | undefined => purposes.find(([pattern]) => pattern.test(folder))?.[1];

/** Shared objects in a folder, and below it when it is known for plug-ins. */
function sharedObjects(rootfs: Rootfs, folder: RootPath, deep: boolean, loaded: ReadonlySet<string>): RootPath[] {
  const found: RootPath[] = [];
  const pending = [folder];
  for (let next = pending.pop(), visited = 0; next !== undefined && visited < mostFolders; next = pending.pop()) {
    visited++;
    for (const name of rootfs.list(next)) {
      const path = join(next, name);
      const node = rootfs.lookup(path);
      if (node?.type === "directory" && deep) pending.push(path);
      if (!/\.so(?:\.|$)/.test(name)) continue;
      const file = rootfs.resolve(path);
      if (file?.type === "file" && !loaded.has(file.identity) && isElf(rootfs.open(file))) found.push(path);
    }
  }
  return found.sort();
}

const mostFolders = 2_000;

const folderOf = (rootfs: Rootfs, path: RootPath): RootPath | undefined => rootfs.resolve(join(path, ".."))?.path;
