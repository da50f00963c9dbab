/** A Torcx image as profiles and file names name it. */
export interface TorcxImageName {
  /** `docker` */
  readonly name: string;
  /** `20.10`, `com.coreos.cl` */
  readonly reference: string;
}

/** `docker:20.10.torcx.tgz` or `….torcx.squashfs` without folder; undefined for other names. */
export function parseTorcxName(fileName: string): TorcxImageName | undefined {
  const match = /^([^:/]+):([^/]+?)\.torcx\.(tgz|tar(?:\.\w+)?|squashfs)$/.exec(fileName);
  return match === null ? undefined : { name: match[1]!, reference: match[2]! };
}

/** The images of a profile (profile-manifest v0 or v1), or what is wrong with it. */
export function parseProfile(text: string): readonly TorcxImageName[] | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  const { kind, value } = Object(json) as { kind?: unknown; value?: { images?: unknown } };
  if (kind !== "profile-manifest-v0" && kind !== "profile-manifest-v1")
    return `kind ${JSON.stringify(kind) ?? "(none)"}`.slice(0, 80);
  const images = Object(value).images as unknown;
  if (images === null || images === undefined) return [];
  if (!Array.isArray(images)) return "images is no list";
  return images.flatMap((image: unknown) => {
    const { name, reference } = Object(image) as { name?: unknown; reference?: unknown };
    return typeof name === "string" && typeof reference === "string" ? [{ name, reference }] : [];
  });
}
