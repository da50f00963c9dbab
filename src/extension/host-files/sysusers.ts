import { settingsOf, type UnitFile } from "../units/unit-file.ts";
import { splitWords } from "../units/words.ts";
import type { Accounts } from "./accounts.ts";

/** Who must exist on the host for the extension to work. */
export interface NeededAccounts {
  /** Names, as units give them. */
  readonly users: Iterable<string>;
  readonly groups: Iterable<string>;
  /** Numbers of the root, as owners of shipped or copied files. */
  readonly uids: Iterable<number>;
  readonly gids: Iterable<number>;
}

/** `User=`, `Group=`, `SupplementaryGroups=` of services, sockets' owners among them; specifiers are left out. */
export function accountsOfUnits(units: readonly UnitFile[]): Pick<NeededAccounts, "users" | "groups"> {
  const collect = (keys: readonly string[]): Set<string> => {
    const names = new Set<string>();
    for (const unit of units)
      for (const section of ["Service", "Socket", "Mount", "Swap"])
        for (const { key, value } of settingsOf(unit, section))
          if (keys.includes(key))
            for (const word of splitWords(value) ?? []) if (/^[A-Za-z_][\w-]*$/.test(word)) names.add(word);
    return names;
  };
  return {
    users: collect(["User", "SocketUser"]),
    groups: collect(["Group", "SocketGroup", "SupplementaryGroups"]),
  };
}

/**
 * The lines of sysusers.d(5) for the needed accounts, as the root's passwd and group describe them. Numbers are
 * kept only when files in the extension carry them (`keepNumbers`): the host's own may differ.
 */
export function formatSysusers(needed: NeededAccounts, accounts: Accounts, keepNumbers: boolean): string {
  const users = new Set(needed.users);
  const groups = new Set(needed.groups);
  for (const uid of needed.uids) for (const user of accounts.users) if (user.uid === uid) users.add(user.name);
  for (const gid of needed.gids) for (const group of accounts.groups) if (group.gid === gid) groups.add(group.name);
  users.delete("root");
  groups.delete("root");
  const number = (id: number) => (keepNumbers ? String(id) : "-");
  const lines: string[] = [];
  for (const name of [...users].sort()) {
    const user = accounts.users.find((row) => row.name === name);
    const group = accounts.groups.find((row) => row.gid === user?.gid)?.name ?? name;
    // A user line makes a group of its own name; another primary group is named after a colon and made before.
    if (user !== undefined && group !== name && group !== "root") groups.add(group);
    else groups.delete(name);
    const id =
      user === undefined || (group === name && !keepNumbers)
        ? "-"
        : `${number(user.uid)}${group === name ? "" : `:${group}`}`;
    const shell = user === undefined || /(nologin|false|^)$/.test(user.shell) ? "" : ` ${word(user.shell)}`;
    const home = user === undefined || /^(\/nonexistent|\/|)$/.test(user.home) ? "-" : word(user.home);
    lines.push(
      `u ${name} ${id} ${user === undefined || user.gecos === "" ? "-" : quoted(user.gecos)} ${home}${shell}`.replace(
        /( -)+$/,
        "",
      ),
    );
  }
  const members = accounts.groups.flatMap((group) =>
    group.members.filter((name) => users.has(name)).map((name) => [name, group.name]),
  );
  const groupLines = [...groups].sort().map((name) => {
    const group = accounts.groups.find((row) => row.name === name);
    return `g ${name} ${group === undefined ? "-" : number(group.gid)}`;
  });
  const memberLines = members.map(([user, group]) => `m ${user} ${group}`).sort();
  return [...groupLines, ...lines, ...memberLines].map((line) => `${line}\n`).join("");
}

const word = (text: string): string => (/[\s"'\\%]/.test(text) ? quoted(text) : text);
const quoted = (text: string): string =>
  `"${text
    .replace(/[\u0000-\u001f]/g, " ")
    .replace(/[\\"]/g, "\\$&")
    .replace(/%/g, "%%")}"`;
