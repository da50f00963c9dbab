/** What an extension must know of a kind of host before it is merged there. */
export interface HostProfile {
  readonly name: string;
  /** `ID=` of its os-release. */
  readonly id: string;
  /** Folders of /usr and /opt that are links there: a real folder in an extension hides the link (systemd#42746). */
  readonly links: Readonly<Record<string, string>>;
}

/** Sources in each row; `--host ROOT` reads a real host instead. */
export const hostProfiles: readonly HostProfile[] = [
  {
    // flatcar/scripts#2068 (2024-09); baselayout keeps these of lib64 as links into lib.
    name: "flatcar",
    id: "flatcar",
    links: {
      "/usr/sbin": "bin",
      "/usr/lib64/systemd": "../lib/systemd",
      "/usr/lib64/kernel": "../lib/kernel",
      "/usr/lib64/modprobe.d": "../lib/modprobe.d",
      "/usr/lib64/pam": "../lib/pam",
      "/usr/lib64/pam.d": "../lib/pam.d",
      "/usr/lib64/sysctl.d": "../lib/sysctl.d",
      "/usr/lib64/udev": "../lib/udev",
    },
  },
  {
    // Fedora 42 merged sbin; ostree systems keep state in /var.
    name: "fedora-atomic",
    id: "fedora",
    links: { "/usr/sbin": "bin", "/usr/local": "../var/usrlocal", "/opt": "var/opt", "/usr/tmp": "../var/tmp" },
  },
  // base-files of Debian 12 and 13: sbin and lib64 are folders.
  { name: "debian", id: "debian", links: {} },
  // Alpine 3.23 merges /bin, /sbin and /lib into /usr, and keeps /usr/sbin a folder (its TSC, 2025-10).
  { name: "alpine", id: "alpine", links: {} },
];

/** Folders in which some host's dynamic loader looks by itself (ld.so(8), Debian's multiarch, musl). */
export const libraryFolders: readonly RegExp[] = [
  /^\/usr\/lib(32|64|x32)?$/,
  /^\/usr\/lib\/[a-z0-9_]+-linux-(gnu|musl)[a-z0-9]*$/,
  /^\/usr\/lib(32|64)?(\/[a-z0-9_]+-linux-gnu[a-z0-9]*)?\/glibc-hwcaps\/[^/]+$/,
  /^\/usr\/local\/lib(64)?$/,
];

/** Folders of every host (systemd's file-hierarchy(7), hier(7)); where some have a link instead, that is a row above. */
export const hostFolders =
  /^\/usr\/(bin|include|lib(32|64|exec)?|share)$|^\/usr\/lib\/([a-z0-9_]+-linux-(gnu|musl)[a-z0-9]*|binfmt\.d|environment\.d|extension-release\.d|firmware|modprobe\.d|modules|modules-load\.d|sysctl\.d|sysusers\.d|tmpfiles\.d|systemd(\/(network|system|user))?|udev(\/rules\.d)?)$|^\/usr\/share\/(bash-completion|dbus-1|doc|info|locale|man|mime|misc|terminfo|zoneinfo)$/;

/** Where a host's /bin, /sbin, /lib and /lib64 lead since the merge of /usr. */
export function afterUsrMerge(path: string): string {
  return path.replace(/^\/(bin|sbin|lib|lib32|lib64|libx32)(?=\/|$)/, "/usr/$1");
}
