import { FlixwrapError } from "../../core/errors.ts";
import { parseName } from "../release.ts";

/** How hosts get newer versions of an extension by systemd-sysupdate. */
export interface UpdateSource {
  readonly name: string;
  /** Folder on a server, with SHA256SUMS and the images: `https://example.org/extensions/b3sum/`. */
  readonly url: string;
  /** `NAME-@v-%a.raw` when not given; `@v` is the version, `%a` the host's architecture. */
  readonly pattern?: string;
  /** Only versions that begin so: `v1.31` follows patch releases (`NAME-v1.31.@v-%a.raw`). */
  readonly track?: string;
  /** Versions kept on the host; 3 when not given, 2 at least. */
  readonly instances?: number;
  /** Folder of the images on the host; `/opt/extensions/NAME` when not given. */
  readonly target?: string;
  /** The link that systemd-sysext follows; `/etc/extensions/NAME.raw` when not given. */
  readonly link?: string;
  /** Whether SHA256SUMS is signed (SHA256SUMS.gpg). */
  readonly verify?: boolean;
}

/** A file to be published or installed. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** First line of every text that flixwrap writes beside an image, so that it knows them again. */
export const madeBy = "# Made by flixwrap.";

/**
 * The definition for systemd-sysupdate, under both names: `.transfer` (systemd 257 and later) and `.conf` (before).
 * A host takes one of them, into `/etc/sysupdate.NAME.d/`.
 * @throws FlixwrapError `pack-sysupdate`.
 */
export function planUpdateFiles(source: UpdateSource): readonly NamedText[] {
  const text = formatTransfer(source);
  const base = source.track === undefined ? source.name : `${source.name}-${source.track}`;
  return [`${base}.transfer`, `${base}.conf`].map((name) => ({ name, text }));
}

/** sysupdate.d(5). */
function formatTransfer(source: UpdateSource): string {
  const name = parseName(source.name);
  const {
    url,
    track,
    instances = 3,
    target = `/opt/extensions/${name}`,
    link = `/etc/extensions/${name}.raw`,
  } = source;
  const pattern = source.pattern ?? (track === undefined ? `${name}-@v-%a.raw` : `${name}-${track}.@v-%a.raw`);
  if (!URL.canParse(url) || !/^(https?|file):$/.test(new URL(url).protocol)) throw refusal("a URL of a folder", url);
  if (!Number.isInteger(instances) || instances < 2) throw refusal("2 instances or more", String(instances));
  if (!pattern.includes("@v") || /[\s/]/.test(pattern)) throw refusal("a file name with @v", pattern);
  for (const path of [target, link])
    if (!path.startsWith("/") || /[\s\u0000-\u001f]/.test(path)) throw refusal("an absolute path without spaces", path);
  // `%` begins a specifier in every value.
  const escape = (text: string) => text.replace(/%/g, "%%");
  const folder = url.endsWith("/") ? url : `${url}/`;
  return [
    madeBy,
    "[Transfer]",
    `Verify=${source.verify === true ? "yes" : "no"}`,
    "",
    "[Source]",
    "Type=url-file",
    `Path=${escape(folder)}`,
    `MatchPattern=${pattern}`,
    "",
    "[Target]",
    `InstancesMax=${instances}`,
    "Type=regular-file",
    `Path=${escape(target)}`,
    `MatchPattern=${pattern}`,
    `CurrentSymlink=${escape(link)}`,
    "",
  ].join("\n");
}

/** A definition that never matches: it silences `systemd-sysupdate` for the default component. */
export const noopTransfer: NamedText = {
  name: "noop.conf",
  text: [
    madeBy,
    "[Source]",
    "Type=regular-file",
    "Path=/",
    "MatchPattern=invalid@v.raw",
    "",
    "[Target]",
    "Type=regular-file",
    "Path=/",
    "",
  ].join("\n"),
};

function refusal(wanted: string, got: string): FlixwrapError {
  return new FlixwrapError("pack-sysupdate", { what: "cannot write the update definition", got, wanted });
}
