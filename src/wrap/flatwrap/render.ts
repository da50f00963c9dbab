import type { ExtPath } from "../../core/paths.ts";
import { join, type RootPath, rootPath } from "../../core/paths.ts";
import { quoteWord, type TemplateValues } from "./shell.ts";
import type { Home } from "./contents.ts";
import { type Mount, nearest, planMountSteps } from "./mounts.ts";

/**
 * The mount table for mount(8) `-a -T`, with paths relative to the folder it stands in, so that it also serves a
 * tree that is not merged.
 */
export function renderFstab(mounts: readonly Mount[]): string {
  const rows = planMountSteps(mounts).map(
    ({ source = "none", target, options, isOptional }) =>
      `${escapeField(source)} ${escapeField(target)} none ${options.join()}${isOptional ? ",nofail" : ""} 0 0\n`,
  );
  return `# What the program sees beside the root's own files: fstab(5), for mount -a -T in this folder.\n${rows.join("")}`;
}

/** getmntent(3): white space, backslashes and a leading # as octal numbers. */
const escapeField = (text: string): string =>
  text.replace(/[ \t\n\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);

type HostMount = Mount & { readonly host: string };

/** The host's path of a place below a host folder. */
const onHost = ({ host, inside }: HostMount, place: RootPath): string =>
  join(rootPath(host), place.slice(inside.length));

/** What `templates/flatwrap-enter.sh` asks for. */
export function renderEnter(mounts: readonly Mount[], name: string): TemplateValues {
  const hostRows = mounts.filter((mount): mount is HostMount => mount.host !== undefined);
  const same = hostRows.filter(({ host, inside, type }) => type === "folder" && host === inside);
  return {
    name,
    visible: same.length === 0 ? "/dev/null/*" : same.map(({ inside }) => `${quoteWord(inside)}/*`).join(" | "),
    required: hostRows.flatMap((row) => {
      if (!row.required) return [];
      const above = nearest(hostRows.slice(0, hostRows.indexOf(row)), row.inside);
      const needed = [row.host, ...(above === undefined ? [] : [onHost(above, row.inside)])];
      return needed.map(
        (path) => `[ -e ${quoteWord(path)} ] || flatwrap_fail ${quoteWord(`this host has no ${path}`)}`,
      );
    }),
    over: mounts.flatMap(({ inside, host }) => {
      if (host !== undefined) return [];
      const place = onHost(nearest(hostRows, inside)!, inside);
      return [
        `# The root's own before the host's, where the host has one: bwrap would make a place for it there.`,
        `[ ! -e ${quoteWord(place)} ] ||`,
        `    set -- --ro-bind "$flatwrap_home"/over${quoteWord(inside)} ${quoteWord(inside)} "$@"`,
      ];
    }),
    binds: hostRows.map(({ host, inside, writable, required }) => {
      const option = `${writable ? "--dev-bind" : "--ro-bind"}${required ? "" : "-try"}`;
      return `${option} ${quoteWord(host)} ${quoteWord(inside)} \\`;
    }),
  };
}

/**
 * A drop-in that lets systemd show the root to a service: no shell, so that `Type=notify`, socket activation and
 * process tracking stay what they are (systemd.exec(5)).
 */
export function renderDropIn(mounts: readonly Mount[], home: Home, ownFolders: readonly string[]): string {
  const bind = ({ host, inside, required }: Mount): string =>
    `${required ? "" : "-"}${escapePath(host ?? join(home.over, inside))}:${escapePath(inside)}`;
  // For a file that the host has not either systemd would make a place in its /etc; the host's musl would go by that.
  const shown = mounts.filter((row) => row.text === undefined);
  const lines = [
    "# The service sees the root beside the host's folders (flixwrap).",
    "[Service]",
    `RootDirectory=${escapeSpecifier(home.root)}`,
    // On, it would put an empty folder on /run; with the host's there, systemd 257 fails at every second start, as
    // it finds the os-release link that it made the first time (namespace.c, setup_os_release_symlink).
    "MountAPIVFS=no",
    ...shown.filter(({ writable }) => writable).map((row) => `BindPaths=${bind(row)}`),
    ...shown.filter(({ writable }) => !writable).map((row) => `BindReadOnlyPaths=${bind(row)}`),
    ...ownFolders.map((folder) => `ReadOnlyPaths=-${escapePath(folder)}`),
  ];
  return `${lines.join("\n")}\n`;
}

const escapeSpecifier = (text: string): string => text.replaceAll("%", "%%");
/** Words of a list setting: quoted as systemd.syntax(7) says; a colon would end the path. */
const escapePath = (text: string | ExtPath): string =>
  escapeSpecifier(text).replace(/[\s\\:"']/g, (character) =>
    character === ":" ? "\\:" : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
