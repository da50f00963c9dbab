/**
 * What a `recipe.yaml` says, as `readRecipe` hands it on: lists where the file may have one value, nothing
 * computed yet. The published schema (`schema.ts`) explains each key to users; this page is for the engine.
 */

export interface RecipeFile {
  readonly summary: string;
  readonly homepage?: string;
  readonly license?: string;
  readonly notes?: string;
  /** Other extensions it works with or needs; told to the user. */
  readonly needs?: readonly string[];
  /** Absent: the recipe has no upstream, `files/` is all there is. */
  readonly versions?: VersionRules;
  /** By systemd's name; the values are extra template names. Absent: x86-64 and arm64. */
  readonly architectures?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly options?: Readonly<Record<string, RecipeOption>>;
  /** Template names worked out after the options; the first row that holds gives the value. */
  readonly variables?: Readonly<Record<string, readonly Variable[]>>;
  readonly parts?: readonly Part[];
  /** Symlinks: path -> target. */
  readonly links?: Readonly<Record<string, string>>;
  /** Small generated files: path -> text. */
  readonly text?: Readonly<Record<string, string>>;
  /** Taken out of the finished plan. */
  readonly drop?: readonly Drop[];
  readonly enable?: readonly Enable[];
  readonly reload?: boolean;
  /** Libraries by their names that upstream's programs take from the host; `glibc` stands for all of its own. */
  readonly hostLibraries: readonly string[];
  readonly sysupdate?: { readonly branch?: "major" | "minor" };
}

/** Where a recipe's versions are listed, and which of them count. */
export interface VersionRules {
  readonly source: VersionSource;
  /** Versions carry a leading `v` in this recipe, whatever upstream's list says. */
  readonly prefix: "" | "v";
  /** Applied to each name of the source: the first group is the version; names that do not match are dropped. */
  readonly match?: string;
  /** Names of the source that match this are dropped. */
  readonly except?: string;
  /** What a version looks like without its prefix, a regular expression for the whole of it. */
  readonly pattern: string;
  /** The oldest version offered. */
  readonly from?: string;
  readonly latest?: { readonly per: "major" | "minor"; readonly keep?: number; readonly supported?: Document };
}

/** A list of versions that upstream keeps. */
export type VersionSource =
  | { readonly kind: "github"; readonly repository: string; readonly list: "releases" | "tags" }
  | { readonly kind: "gitlab"; readonly host: string; readonly project: string }
  | { readonly kind: "page"; readonly page: string }
  | ({ readonly kind: "document" } & Document)
  | { readonly kind: "hashicorp"; readonly product: string }
  | { readonly kind: "image"; readonly image: string; readonly run: string }
  | { readonly kind: "fixed"; readonly versions: readonly string[] };

/** A JSON or YAML file and the values taken from it: `schedules[].previousPatches[].release`, `releases{}` for keys. */
export interface Document {
  readonly document: string;
  readonly select: string;
  /** A page whose matches each fill `{branch}` in `document`. */
  readonly branches?: { readonly page: string; readonly match: string; readonly from?: string };
}

/** An option of the recipe, `--NAME VALUE` on the command line. */
export interface RecipeOption {
  readonly help: string;
  readonly default?: string;
  readonly choices?: readonly string[];
  readonly required?: boolean;
  /** Makes `latest` a possible value. */
  readonly versions?: VersionRules;
  /** Old environment variables: name -> the value it stands for, or `*` for the variable's own value. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** One row of a value that texts of the recipe may use: given, or read from a page. */
export interface Variable {
  readonly when?: string;
  readonly value?: string;
  /** The value is the first group of `match` in the file at this address. */
  readonly page?: string;
  readonly match?: string;
}

/** One source of files. */
export type Part = DownloadPart | ImagePart;

/** Files of an artifact that upstream publishes. */
export interface DownloadPart {
  readonly kind: "download";
  readonly name?: string;
  readonly when?: string;
  readonly download: string;
  readonly verify: Verification;
  readonly archive?: ArchiveType;
  /** An archive inside the archive (a package in a bundle), as a pattern. */
  readonly inside: readonly string[];
  readonly strip: number;
  readonly files: readonly Placement[];
}

/** Files of an image, maybe after a command ran in it. */
export interface ImagePart {
  readonly kind: "image";
  readonly name?: string;
  readonly when?: string;
  readonly image: string;
  readonly run?: string;
  /** Downloads put into the root before the command runs: path -> download. */
  readonly inputs: readonly Input[];
  /** The package whose installed version must be the one that was asked for. */
  readonly package?: string;
  readonly convert?: "flix" | "flatwrap";
  readonly entries: readonly string[];
  /** Options of the converter, by their names on the command line. */
  readonly with: Readonly<Record<string, string | boolean | readonly string[]>>;
  readonly files: readonly Placement[];
}

/** One download that a command in an image works on. */
export interface Input {
  readonly to: string;
  readonly download: string;
  readonly verify: Verification;
}

/** How an artifact is read; `file` is one that is shipped as it is. */
export type ArchiveType = "tar" | "zip" | "deb" | "file";

/** How an artifact is verified, or why it cannot be. */
export type Verification =
  | { readonly kind: "checks"; readonly checks: readonly Check[] }
  /** Upstream publishes nothing to check against; the reason is told to the user. */
  | { readonly kind: "unverified"; readonly reason: string };

/** Something that vouches for an artifact. */
export type Check =
  /** A checksum file beside the artifact or for the whole release; `entry` is the artifact's name in it. */
  | { readonly kind: "sums"; readonly sums: string; readonly entry?: string }
  /** The digest that GitHub's release API gives for the asset. */
  | { readonly kind: "github" }
  /** version -> architecture -> `sha256:…`, written into the recipe. */
  | { readonly kind: "digests"; readonly digests: Readonly<Record<string, Readonly<Record<string, string>>>> };

/** Which of a part's files are shipped, and where. */
export interface Placement {
  /** A minimatch pattern on paths inside the archive or root, without a leading slash. */
  readonly from: string;
  /** Ends in `/`: a folder, names are kept relative to the pattern's fixed part. Else: the one file's new path. */
  readonly to: string;
  readonly when?: string;
  readonly mode?: number;
  readonly except: readonly string[];
  readonly optional: boolean;
  /** Text replaced in every file of this row. */
  readonly replace: Readonly<Record<string, string>>;
}

/** Files that are left out after all. */
export interface Drop {
  readonly paths: readonly string[];
  readonly when?: string;
}

/** A unit that the host starts after the merge. */
export interface Enable {
  readonly unit: string;
  readonly when?: string;
}
