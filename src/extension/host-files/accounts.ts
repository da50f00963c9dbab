import { rootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/** The users and groups of a root, by number and by name. */
export interface Accounts {
  readonly users: readonly User[];
  readonly groups: readonly Group[];
}

/** A line of passwd(5). */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
}

/** A line of group(5). */
export interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const textLimit = 1 << 20;

/** Reads `passwd` and `group` of `/etc`, and of `/usr/lib`, where image-based systems keep them. */
export function readAccounts(root: Rootfs): Accounts {
  const lines = (name: string): string[][] =>
    ["/etc", "/usr/lib"].flatMap((folder) => {
      const node = root.resolve(rootPath(`${folder}/${name}`));
      if (node?.type !== "file") return [];
      const text = Buffer.from(root.open(node).read(0, textLimit)).toString("utf8");
      return text.split("\n").flatMap((line) => (line.includes(":") ? [line.split(":")] : []));
    });
  return {
    users: lines("passwd").flatMap(([name = "", , uid = "", gid = "", gecos = "", home = "", shell = ""]) =>
      isName(name) && isNumber(uid) && isNumber(gid)
        ? [{ name, uid: Number(uid), gid: Number(gid), gecos, home, shell }]
        : [],
    ),
    groups: lines("group").flatMap(([name = "", , gid = "", members = ""]) =>
      isName(name) && isNumber(gid) ? [{ name, gid: Number(gid), members: members.split(",").filter(isName) }] : [],
    ),
  };
}

/** What sysusers.d(5) accepts, strictly. */
const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_-]{0,30}$/.test(name);
const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text);

/** The name of a number, for lines that name owners; numbers nobody has a name for stay numbers. */
export function userName(accounts: Accounts, uid: number): string {
  return uid === 0 ? "root" : (accounts.users.find((user) => user.uid === uid)?.name ?? String(uid));
}

/** As {@link userName}, of a group. */
export function groupName(accounts: Accounts, gid: number): string {
  return gid === 0 ? "root" : (accounts.groups.find((group) => group.gid === gid)?.name ?? String(gid));
}
