import type { RawFlatwrapOptions } from "../wrap/flatwrap/options.ts";
import type { DlopenLevel } from "../loader/index.ts";
import type { Format } from "../pack/formats.ts";

/** One conversion as the user asked for it. */
export interface Request {
  readonly converter: "flix" | "flatwrap" | "torcx" | "pack";
  /** Reference of the image, as typed. */
  readonly source: string;
  readonly name: string;
  /** `PATH` or `SOURCE:TARGET`; `pack` takes the folder as it is. */
  readonly entries: readonly string[];
  readonly options: ConvertOptions;
}

/** The names are those of the command line's options (docs/). */
export interface ConvertOptions {
  readonly platform?: string;
  /** systemd's word, or `any`: for folders and Torcx images, whose programs decide otherwise. */
  readonly arch?: string;
  readonly creds?: string;
  readonly cacheDir?: string;
  readonly tlsVerify?: boolean;
  readonly caFile?: string;
  readonly run?: readonly string[];
  readonly runNetwork?: "host" | "none";
  readonly runCache?: boolean;
  readonly engine?: "docker" | "podman";

  readonly output?: string;
  readonly format?: Format;
  readonly compression?: string;
  readonly level?: number;
  readonly blockSize?: number;
  readonly size?: number;
  readonly filesystem?: "squashfs" | "erofs";
  readonly privateKey?: string;
  readonly certificate?: string;
  readonly seed?: string;
  /** Seconds since 1970. */
  readonly epoch?: number;
  readonly keepOwners?: boolean;
  readonly allowSuid?: boolean;

  readonly prefix?: string;
  readonly os?: string;
  readonly versionId?: string;
  readonly sysextLevel?: string;
  readonly scope?: readonly string[];
  readonly reload?: boolean;
  readonly restartUnit?: readonly string[];
  readonly reloadOrRestartUnit?: readonly string[];
  /** `KEY=VALUE` */
  readonly releaseField?: readonly string[];
  readonly anyFileName?: boolean;
  readonly imageVersion?: string;

  readonly enable?: readonly string[];
  readonly upholds?: "drop-in" | "symlink";
  readonly stopOnUnmerge?: boolean;
  readonly shipEtc?: readonly string[];
  /** False with `--no-state`, `--no-users`, `--no-papers`. */
  readonly state?: boolean;
  readonly users?: boolean;
  readonly papers?: boolean;

  readonly hostProfile?: readonly string[];
  readonly check?: readonly string[] | boolean;
  readonly smoke?: readonly string[];
  readonly trace?: readonly string[];
  readonly dryRun?: boolean;

  readonly checksums?: boolean;
  readonly updateUrl?: string;
  readonly updatePattern?: string;
  readonly updateTrack?: string;
  readonly updateInstances?: number;
  readonly updateTarget?: string;
  readonly updateLink?: string;
  readonly bestBefore?: string;
  /** The shell tools' word for an update URL that is always the same. */
  readonly sysupdate?: boolean;
  readonly gpgKey?: string;
  readonly butane?: boolean;
  readonly sbom?: boolean;

  readonly lib?: readonly string[];
  readonly dlopen?: DlopenLevel;
  readonly hwcaps?: "all" | "baseline";
  readonly withBinaries?: readonly string[];
  readonly strip?: boolean;
  readonly kernel?: string;
  readonly flatwrap?: RawFlatwrapOptions;
}
