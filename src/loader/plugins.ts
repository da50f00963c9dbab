import { type RootPath, baseName, join, rootPath } from "../core/paths.ts";
import { type ElfFile, isElf } from "../elf/file.ts";
import { matchData } from "../elf/find.ts";
import { openSymbolTable } from "../elf/symbol-table.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import type { Closure, LoadedObject } from "./closure.ts";

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

/** What is known of folders by their names. */
interface Purpose {
  readonly folder: RegExp;
  /** The variables are those of the libraries' own manual pages. */
  readonly why: string;
  /** Objects (by soname or file name) that hardly do their work without the plug-ins … */
  readonly by?: RegExp;
  /** … when another object of the closure calls one of these. */
  readonly calls?: readonly string[];
}

const purposes: readonly Purpose[] = [
  {
    folder: /\/gconv$/,
    why: "character sets of iconv(3) (GCONV_PATH)",
    by: /^libc\.so\.6/,
    // Built in are ASCII and the encodings of Unicode, no others (iconv/gconv_builtin.h).
    calls: ["iconv_open"],
  },
  { folder: /\/security$/, why: "PAM modules, chosen by /etc/pam.d", by: /^libpam\.so/ },
  {
    folder: /\/ossl-modules$/,
    why: "OpenSSL providers, chosen by openssl.cnf (OPENSSL_MODULES)",
    by: /^libcrypto\.so/,
    // The default provider is built in.
    calls: ["OSSL_PROVIDER_load", "OSSL_PROVIDER_try_load"],
  },
  { folder: /\/engines-[\d.]+$/, why: "OpenSSL engines, chosen by openssl.cnf (OPENSSL_ENGINES)" },
  { folder: /\/krb5\/plugins\b/, why: "Kerberos plug-ins, chosen by krb5.conf" },
  {
    folder: /\/sasl2$/,
    why: "SASL mechanisms (SASL_PATH)",
    by: /^libsasl2\.so/,
    // A client of LDAP binds without it; its library calls sasl_client_init, only.
    calls: ["sasl_server_init", "sasl_server_new", "sasl_set_path"],
  },
  { folder: /\/xtables$/, why: "extensions of iptables (XTABLES_LIBDIR)", by: /^libxtables\.so|^xtables-/ },
  { folder: /\/gio\/modules$/, why: "GIO modules: TLS, proxies, settings (GIO_MODULE_DIR)", by: /^libgio-2\.0\.so/ },
  {
    folder: /\/gdk-pixbuf-2\.0\/.*loaders$/,
    why: "image loaders (GDK_PIXBUF_MODULE_FILE)",
    by: /^libgdk_pixbuf-2\.0\.so/,
  },
  {
    folder: /\/gstreamer-1\.0$/,
    why: "GStreamer elements (GST_PLUGIN_SYSTEM_PATH)",
    by: /^libgstreamer-1\.0\.so/,
  },
  { folder: /\/pkcs11$/, why: "PKCS#11 modules" },
  {
    folder: /\/ImageMagick[^/]*\/.*modules/,
    why: "ImageMagick coders and filters (MAGICK_CODER_MODULE_PATH)",
    by: /^libMagickCore-/,
  },
  {
    folder: /\/(?:nginx\/modules|apache2\/modules)$/,
    why: "modules of the server, chosen by its configuration",
    by: /^(?:nginx|apache2)$/,
  },
  { folder: /\/postgresql\/.*lib$/, why: "PostgreSQL extensions (dynamic_library_path)", by: /^postgres$/ },
  { folder: /\/perl/, why: "compiled Perl modules (PERL5LIB)", by: /^(?:lib)?perl[\d.]*(?:\.so|$)/ },
  // The whole of it: beside its compiled modules (lib-dynload) stand those that Python does not even start without.
  { folder: /\/python3\.\d+$/, why: "Python's library, without which it does not start", by: /^(?:lib)?python3/ },
  { folder: /\/sudo$/, why: "sudo's plug-ins, chosen by sudo.conf", by: /^sudo$/ },
];

/** Folders that objects put together at run time: object's file name -> folder. */
const computed: readonly (readonly [object: RegExp, folder: string])[] = [
  [/^(?:lib)?python(3\.\d+)\b/, "/usr/lib/python$1"],
  [/^(?:lib)?python(3\.\d+)\b/, "/usr/local/lib/python$1"],
];

/**
 * Finds the plug-in folders of a closure: every path in an object's strings that is a folder of the root with shared
 * objects of its own in it. A report for people and for `--lib`: whether a plug-in is used, only a configuration knows.
 * `likely` finds only those that hardly anybody does without, and reads only the objects that are known to use them.
 */
export function findPluginFolders(
  rootfs: Rootfs,
  closure: Closure,
  which: "all" | "likely" = "all",
): readonly PluginFolder[] {
  const loaded = new Set(closure.objects.map(({ node }) => node.identity));
  const searched = new Set(closure.objects.flatMap(({ foundAs }) => foundAs.map((path) => folderOf(rootfs, path))));
  const contents = new Map<RootPath, readonly RootPath[]>();
  const librariesIn = (folder: RootPath): readonly RootPath[] => {
    const known = contents.get(folder);
    if (known !== undefined) return known;
    const real = rootfs.resolve(folder);
    // A folder of ordinary libraries is no folder of plug-ins, whoever names it; sudo's plug-ins have a library of
    // sudo's own among them.
    const isKnown = purposeOf(folder) !== undefined;
    const ordinary =
      real?.type !== "directory" ||
      (!isKnown && searched.has(real.path)) ||
      /^(?:\/usr)?(?:\/local)?\/lib\w*$/.test(folder);
    const found = ordinary ? [] : sharedObjects(rootfs, folder, isKnown, loaded);
    contents.set(folder, found);
    return found;
  };
  return closure.objects
    .filter((object) => object.role !== "interpreter" && (which === "all" || likelyOf(object).length > 0))
    .flatMap((object) => {
      const { node, elf } = object;
      const wanted = which === "likely" ? likelyOf(object).filter((one) => isCalled(one, object, closure)) : undefined;
      if (wanted?.length === 0) return [];
      const named = [...pathsIn(elf), ...computedFolders(node)];
      return [...new Set(named)].flatMap((folder): PluginFolder[] => {
        const purpose = purposeOf(folder);
        if (wanted !== undefined && (purpose === undefined || !wanted.includes(purpose))) return [];
        const libraries = librariesIn(folder);
        return libraries.length === 0
          ? []
          : [{ object: node.path, folder, why: purpose?.why ?? "named in the object", libraries }];
      });
    });
}

const likelyOf = ({ elf, node }: LoadedObject): readonly Purpose[] =>
  purposes.filter(({ by }) => by?.test(elf.soname ?? baseName(node.path)));

const isCalled = ({ calls }: Purpose, owner: LoadedObject, { objects }: Closure): boolean =>
  calls === undefined ||
  objects.some((one) => one !== owner && calls.some((symbol) => openSymbolTable(one.elf).mentions(symbol)));

function computedFolders(node: RootNode): RootPath[] {
  const name = baseName(node.path);
  return computed.flatMap(([object, folder]) => {
    const match = object.exec(name);
    return match === null ? [] : [rootPath(folder.replace("$1", match[1] ?? ""))];
  });
}

/** Absolute paths among the strings, alone or quoted or in a list: `MODULESDIR: "/usr/lib/ossl-modules"`, `/a:/b`. */
function pathsIn(elf: ElfFile): RootPath[] {
  const path = /(?<=[\0":;=, ])(?:\/[\w.+@-]{1,64}){2,12}\/?(?=[\0":;, ])/g;
  return [...new Set(Array.from(matchData(elf, path, 1024), rootPath))];
}

const purposeOf = (path: RootPath): Purpose | undefined => purposes.find(({ folder }) => folder.test(path));

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
