/**
 * How a loader searches, as data: one value per C library, one engine (`resolve.ts`) for all.
 * Sources: glibc elf/dl-load.c, dl-cache.c, dl-deps.c (2.26 to 2.41); musl ldso/dynlink.c (1.1.24 to 1.2.5).
 */
export interface LoaderPolicy {
  readonly family: "glibc" | "musl";
  /** The lists asked, in order, for a name without a slash. */
  readonly lists: readonly SearchList[];
  readonly runPath: RunPathSyntax;
  /** Folders that a list's folder is extended by (`glibc-hwcaps/…`) are looked at first. */
  readonly hwcaps: boolean;
  /** What answers a request without any search. */
  readonly loaded: {
    /** The DT_SONAME of every loaded object. */
    readonly soname: boolean;
    /** Every name an object was asked for; otherwise only the file name under which a search found it. */
    readonly requests: boolean;
    /** The loader's own names: any DT_NEEDED that matches *is* the loader. */
    readonly reserved?: RegExp;
    /** An object that defines all of these is taken for a second C library; the loader answers for it. */
    readonly twin?: readonly string[];
  };
  /** A file of another class or machine: looked past, or the end of the search. Every other defect ends it. */
  readonly foreign: "skip" | "fatal";
  /** A program that is asked for as a library is a defect (glibc 2.30: DF_1_PIE too). */
  readonly refusesPrograms: boolean;
  /** A link loop on the way to a file ends that list only, or the whole search. */
  readonly loop: "end-list" | "end-search";
  /** Whether the asking object's DF_1_NODEFLIB shuts the default folders. */
  readonly noDefaultLib: boolean;
  /** Whether DT_AUXILIARY and DT_FILTER objects are loaded. */
  readonly filters: boolean;
  /** Whose run path a dlopen(3) made by a library follows. */
  readonly dlopen: "caller" | "program";
}

/** One of the lists that a loader goes through for a name without a slash, in its order. */
export type SearchList =
  /**
   * DT_RPATH or DT_RUNPATH: of the asking object, or also of its loader, its loader's loader …
   * `prefer-runpath` takes a DT_RPATH only from an object without DT_RUNPATH (true of every `rpath` too).
   */
  | {
      readonly kind: "run-path";
      readonly tag: "rpath" | "runpath" | "prefer-runpath";
      readonly of: "self" | "chain";
      /** The list does not exist for an asking object that has DT_RUNPATH. */
      readonly unlessRunpath?: true;
    }
  /** LD_LIBRARY_PATH: nothing of the root, but an image may start its programs with one. */
  | { readonly kind: "library-path" }
  /** /etc/ld.so.cache, then (later in the order, see {@link glibc}) what ldconfig would have put there. */
  | { readonly kind: "cache" | "conf" }
  /** The compiled-in folders, or musl's path file, which replaces them. */
  | { readonly kind: "default" };

/** How a loader reads the text of a run path. */
export interface RunPathSyntax {
  readonly separator: RegExp;
  /** An empty element names the working folder, or nothing. */
  readonly emptyElement: "working-folder" | "skip";
  /** Matches one token; its first defined group is the token's name. */
  readonly token: RegExp;
  /** A `$` that is no token is an ordinary character, or makes the whole list void. */
  readonly otherDollar: "literal" | "void-list";
  /** Tokens also expand in DT_NEEDED. */
  readonly inNames: boolean;
}

/** glibc's ld.so (elf/dl-load.c). */
export const glibc: LoaderPolicy = {
  family: "glibc",
  lists: [
    // _dl_map_new_object: "When the object has the RUNPATH information we don't use any RPATHs."
    { kind: "run-path", tag: "rpath", of: "chain", unlessRunpath: true },
    { kind: "library-path" },
    { kind: "run-path", tag: "runpath", of: "self" },
    { kind: "cache" },
    { kind: "default" },
    // The loader never reads ld.so.conf. Images often lack the cache, or a step forgot ldconfig: asked last,
    // this list never changes what the loader would find, it only turns "not found" into a warning.
    { kind: "conf" },
  ],
  runPath: {
    separator: /:/,
    emptyElement: "working-folder",
    // is_dst: a name ends where an identifier ends, so $ORIGINX is no token.
    token: /\$(?:\{(ORIGIN|PLATFORM|LIB)\}|(ORIGIN|PLATFORM|LIB)(?![A-Za-z0-9_]))/g,
    otherDollar: "literal",
    inNames: true,
  },
  hwcaps: true,
  loaded: { soname: true, requests: true },
  foreign: "skip",
  refusesPrograms: true,
  loop: "end-list",
  noDefaultLib: true,
  filters: true,
  dlopen: "caller",
};

/** musl's loader (ldso/dynlink.c). */
export const musl: LoaderPolicy = {
  family: "musl",
  lists: [{ kind: "library-path" }, { kind: "run-path", tag: "prefer-runpath", of: "chain" }, { kind: "default" }],
  runPath: {
    separator: /[:\n]/,
    emptyElement: "skip",
    // fixup_rpath compares 7 characters only, so $ORIGINX is $ORIGIN followed by X.
    token: /\$(?:\{(ORIGIN)\}|(ORIGIN))/g,
    otherDollar: "void-list",
    inNames: false,
  },
  hwcaps: false,
  loaded: {
    soname: false,
    requests: false,
    // load_library: "Catch and block attempts to reload the implementation itself".
    reserved: /^lib(?:c|pthread|rt|m|dl|util|xnet)\./,
    // "Avoid the danger of getting two versions of libc mapped into the same process".
    twin: ["__libc_start_main", "stdin"],
  },
  foreign: "fatal",
  refusesPrograms: false,
  loop: "end-search",
  noDefaultLib: false,
  filters: false,
  dlopen: "program",
};
