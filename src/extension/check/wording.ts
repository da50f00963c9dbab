/** What a rule is about, what it says of a finding, and what to do. Facts are those its rule gives. */
interface Wording {
  /** One line for lists of rules. */
  readonly title: string;
  readonly message: (facts: Readonly<Record<string, string>>) => string;
  readonly hint?: string;
}

/** Every check by its name (`--no-check NAME`), and all sentences about its findings. */
export const wordings = {
  outside: {
    title: "Only /usr and /opt are merged",
    message: ({ type }) =>
      type === undefined ? "lies outside /usr and /opt and is never merged" : `is a ${type}, must be a folder`,
    hint: "move it below /usr, or ship configuration with --etc",
  },
  "release-missing": {
    title: "An extension names itself in extension-release",
    message: ({ wanted }) =>
      `has no usr/lib/extension-release.d/extension-release.${wanted}: systemd finds no extension in it`,
    hint: "flixwrap pack FOLDER NAME writes it",
  },
  "release-name": {
    title: "File name and extension-release agree",
    message: ({ fileName, names, wanted }) =>
      `${fileName} makes systemd look for extension-release.${wanted}, the extension has ${names}: it answers "No medium found" or passes it over`,
    hint: "install it as /etc/extensions/NAME.raw, or as a link of that name to the versioned file; or make it with --any-file-name",
  },
  "release-name-new": {
    title: "File name needs a newer systemd",
    message: ({ fileName, name }) =>
      `is taken for ${name} by its file name ${fileName} from systemd 255 on (.sysext) or 257 on (_VERSION); older ones say "No medium found"`,
  },
  "release-field": {
    title: "extension-release has values that systemd accepts",
    message: ({ key, got, problem }) => `${key}=: got ${got}: ${problem}`,
  },
  name: {
    title: "The name is one that systemd, shells and file systems take as it is",
    message: ({ problem }) => `the extension's name has ${problem}`,
  },
  "os-release": {
    title: "The image is no operating system",
    message: () => "systemd refuses an extension that has an os-release (since 250)",
    hint: "leave it out",
  },
  "shadowed-link": {
    title: "No real folder stands where a host has a link",
    message: ({ hosts, target }) =>
      `is a link to ${target} on ${hosts}: merged as a folder, it hides the link and all that is seen through it`,
    hint: "put programs into /usr/bin, private files below /usr/lib/NAME",
  },
  "shadowed-folder": {
    title: "No file or link stands where every host has a folder",
    message: ({ type }) => `is a folder on every host: merged, this ${type} hides it with all that is in it`,
    hint: "place it below that folder, or somewhere else",
  },
  "shadowed-file": {
    title: "Nothing of the host is replaced",
    message: ({ type }) => `replaces the host's own ${type}`,
  },
  "shadowed-mode": {
    title: "Folders of the host keep their modes",
    message: ({ mode, real }) =>
      `has mode ${mode}: merged, the host's folder of that name, which has ${real}, has it too`,
  },
  "host-loader": {
    title: "No dynamic loader where the host's is",
    message: () => "stands where the host's programs find their dynamic loader: merged, it is theirs too",
    hint: "keep it below a private folder, as flix does",
  },
  "host-library": {
    title: "No library where the host's loader looks",
    message: () => "stands where the host's loader looks: programs of the host may get it in place of their own",
    hint: "keep it below a private folder, as flix does",
  },
  case: {
    title: "No two names differ by case alone",
    message: ({ other }) => `differs from ${other} by case alone`,
  },
  "link-loop": {
    title: "Links end somewhere",
    message: ({ target }) => `leads in a circle (${target})`,
  },
  "link-dangling": {
    title: "Links lead to something in the extension",
    message: ({ target }) => `leads to ${target}, which is not in the extension: only a host that has it can follow`,
  },
  "link-outside": {
    title: "Links stay inside /usr and /opt",
    message: ({ target }) => `leads to ${target}, outside of what an extension brings`,
  },
  "folder-closed": {
    title: "Folders are open to everybody",
    message: ({ mode }) => `has mode ${mode}: merged, the host's folder of that name has it too and is closed to users`,
    hint: "chmod 0755; flixwrap's own folders never depend on the umask",
  },
  "world-writable": {
    title: "Nothing can be written by everybody",
    message: ({ mode }) => `has mode ${mode}: anybody may change it`,
  },
  setuid: {
    title: "Setuid and setgid files are known",
    message: ({ mode }) => `has mode ${mode}: whoever runs it acts for its owner or group`,
  },
  capability: {
    title: "File capabilities are known",
    message: () => "has file capabilities: whoever runs it has privileges",
  },
  owner: {
    title: "Everything belongs to root",
    message: ({ owner }) => `belongs to ${owner}, numbers that mean somebody else on the host`,
    hint: "pack it without --keep-owners",
  },
  "special-file": {
    title: "Only files, folders and links",
    message: ({ type }) => `is a ${type}`,
  },
  "elf-damaged": {
    title: "ELF files can be read",
    message: ({ problem }) => problem ?? "cannot be read",
  },
  "elf-architecture": {
    title: "Programs and ARCHITECTURE= agree",
    message: ({ got, wanted }) => `is for ${got}, extension-release says ${wanted}`,
  },
  "elf-any": {
    title: "Programs have an architecture",
    message: ({ got }) =>
      `says no ARCHITECTURE=, but the programs are for ${got}: hosts of other architectures would merge it`,
  },
  "elf-interpreter": {
    title: "Every program has its loader in the extension",
    message: ({ name }) =>
      `needs the loader ${name}, which is not in the extension: it runs with the host's, or not at all`,
    hint: "convert the program with flix",
  },
  "elf-library": {
    title: "Every program has its libraries in the extension",
    message: ({ name, searched }) => `needs ${name}, which is not in the extension (searched ${searched})`,
    hint: "convert the program with flix",
  },
  "unit-syntax": {
    title: "Units are understood by systemd",
    message: ({ problem, line }) => `${problem}: ${line}`,
  },
  "unit-program": {
    title: "Programs that units start are in the extension",
    message: ({ program }) => `starts ${program}, which is not in the extension`,
  },
  "unit-program-moved": {
    title: "Units name programs where they are",
    message: ({ program, elsewhere }) => `starts ${program}, but the program is ${elsewhere}`,
  },
  "unit-reload": {
    title: "Units are seen after the merge",
    message: () => "has units but no EXTENSION_RELOAD_MANAGER=1: systemd (255 and later) sees them only after a reload",
    hint: "add --reload",
  },
  "unit-not-enabled": {
    title: "Units that want to be started are",
    message: () => "is started by nothing in the extension",
    hint: "--enable UNIT lets its targets uphold it",
  },
  "unit-wants": {
    title: "Units are started on a running host too",
    message: ({ unit }) => `starts ${unit} at boot only; on a live merge Upholds= does`,
    hint: "--enable UNIT writes it",
  },
  "unit-user": {
    title: "Users of services exist",
    message: ({ key, name }) => `runs as ${key}=${name}, which no sysusers.d file of the extension creates`,
  },
  damaged: {
    title: "The image can be read",
    message: ({ problem }) =>
      `cannot be read, and one such image keeps systemd from merging all the others: ${problem}`,
  },
  collision: {
    title: "Extensions merged together do not collide",
    message: ({ extensions, winner }) => `is in ${extensions}: the host shows that of ${winner}`,
  },
} satisfies Record<string, Wording>;
