import { FlixwrapError } from "../../core/errors.ts";
import { decodeName } from "../../core/names.ts";
import { type RootPath, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";

/** What a Torcx image gives to the host; torcx links or copies each path to the place of its kind. */
export interface TorcxManifest {
  readonly bin: readonly RootPath[];
  readonly units: readonly RootPath[];
  readonly network: readonly RootPath[];
  readonly sysusers: readonly RootPath[];
  readonly tmpfiles: readonly RootPath[];
  readonly udev_rules: readonly RootPath[];
  /** Lists this program does not know; the format may grow without a new version. */
  readonly unknown: readonly string[];
}

/** The lists of a manifest. */
export type AssetKind = Exclude<keyof TorcxManifest, "unknown">;

const manifestPath = rootPath("/.torcx/manifest.json");
const kinds = ["image-manifest-v0", "image-manifest-v1"];
/** The key in the file, and what it is here; `udev` is an older spelling. */
const lists: Readonly<Record<string, AssetKind>> = {
  bin: "bin",
  units: "units",
  network: "network",
  sysusers: "sysusers",
  tmpfiles: "tmpfiles",
  udev_rules: "udev_rules",
  udev: "udev_rules",
};
/** A list of paths; the real ones have some hundred bytes. */
const sizeLimit = 1 << 20;

/**
 * The image's manifest, `.torcx/manifest.json`; undefined when it has none.
 * @throws FlixwrapError `wrap-torcx-manifest`: not JSON, another kind, lists that are none, paths that do not exist.
 */
export function readTorcxManifest(rootfs: Rootfs): TorcxManifest | undefined {
  const node = rootfs.resolve(manifestPath);
  if (node === undefined) return undefined;
  if (node.type !== "file") throw refusal(rootfs, { got: `a ${node.type}`, wanted: "a file" });
  if (node.size > sizeLimit) throw refusal(rootfs, { got: `${node.size} bytes`, wanted: `at most ${sizeLimit}` });
  const manifest = parseTorcxManifest(decodeName(rootfs.open(node).read(0, node.size)), rootfs.description);
  const missing = Object.values(lists)
    .flatMap((kind) => manifest[kind])
    .filter((path) => findAsset(rootfs, path) === undefined);
  if (missing.length > 0)
    throw refusal(rootfs, { what: "the Torcx manifest names files that are not there", got: wordList(missing) });
  return manifest;
}

/** What a path of the manifest leads to. */
export const findAsset = (rootfs: Rootfs, path: RootPath): RootNode | undefined => rootfs.resolve(path);

/** Text to value; `where` is the image, for messages. */
export function parseTorcxManifest(text: string, where: string): TorcxManifest {
  const fail = (got: string, wanted: string): FlixwrapError =>
    refusal({ description: where }, { got: got.slice(0, 80), wanted });
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw fail((error as Error).message, "JSON");
  }
  if (!isRecord(json)) throw fail(JSON.stringify(json), "an object with kind and value");
  if (typeof json["kind"] !== "string" || !kinds.includes(json["kind"]))
    throw fail(`the kind ${JSON.stringify(json["kind"]) ?? "(none)"}`, kinds.join(" or "));
  const value = json["value"] ?? {};
  if (!isRecord(value)) throw fail(`the value ${JSON.stringify(value)}`, "an object of lists");

  const paths: Record<AssetKind, RootPath[]> = {
    bin: [],
    units: [],
    network: [],
    sysusers: [],
    tmpfiles: [],
    udev_rules: [],
  };
  const unknown: string[] = [];
  for (const [key, list] of Object.entries(value)) {
    const kind = Object.hasOwn(lists, key) ? lists[key] : undefined;
    if (kind === undefined) {
      unknown.push(key);
      continue;
    }
    // Go writes null for an empty slice.
    if (list === null) continue;
    if (!Array.isArray(list) || !list.every((path) => typeof path === "string" && path !== "" && !path.includes("\0")))
      throw fail(`${key}: ${JSON.stringify(list)}`, "a list of paths");
    paths[kind].push(...(list as string[]).map(rootPath));
  }
  return { ...paths, unknown };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function refusal(
  { description }: Pick<Rootfs, "description">,
  facts: { what?: string; got: string; wanted?: string },
): FlixwrapError {
  return new FlixwrapError("wrap-torcx-manifest", {
    what: "cannot use the Torcx manifest",
    where: `${description}: .torcx/manifest.json`,
    ...facts,
  });
}

/** Names on one line, the first dozen of them. */
export function wordList(names: readonly string[]): string {
  const more = names.length - 12;
  return more > 0 ? `${names.slice(0, 12).join(", ")} and ${more} more` : names.join(", ");
}
