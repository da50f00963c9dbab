import { spawnSync } from "node:child_process";
import type { Context } from "../core/context.ts";
import { decodeName } from "../core/names.ts";
import type { RootPath } from "../core/paths.ts";

/** Extended attributes of a folder's files, by path inside the folder; only files that have some. */
export type FolderXattrs = ReadonlyMap<RootPath, ReadonlyMap<string, Uint8Array>>;

/**
 * All extended attributes below a folder, by one run of getfattr(1): Node has no getxattr(2). Without the
 * program the answer is empty and a notice says what may be lost.
 */
export function readFolderXattrs(folder: string, context: Context): FolderXattrs {
  // -P: links are not followed while walking, -h: nor at the end. POSIXLY_CORRECT-free hex is byte-exact.
  const run = spawnSync("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."], {
    cwd: folder,
    env: { PATH: context.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 256 << 20,
  });
  if (run.error !== undefined) {
    const message = `file capabilities and other extended attributes of ${folder} are not seen: getfattr cannot be run (Debian: attr)`;
    context.emit({ kind: "notice", message });
    return new Map();
  }
  return parseGetfattr(run.stdout);
}

/** getfattr's listing: `# file: NAME` with octal escapes, then `NAME=0xHEX` lines, then an empty line. */
export function parseGetfattr(listing: Uint8Array): FolderXattrs {
  const found = new Map<RootPath, Map<string, Uint8Array>>();
  let current: Map<string, Uint8Array> | undefined;
  for (const line of Buffer.from(listing).toString("latin1").split("\n")) {
    const file = /^# file: (.*)$/.exec(line)?.[1];
    if (file !== undefined) {
      const name = decodeName(Buffer.from(unescapeOctal(file), "latin1"));
      current = new Map();
      found.set((name === "." ? "/" : `/${name.replace(/^\.\//, "")}`) as RootPath, current);
      continue;
    }
    const attribute = /^([^=]+)(?:=(?:0x([0-9a-f]*))?)?$/.exec(line);
    // A label of the host's security policy, not a property of the root.
    if (attribute === null || attribute[1] === "security.selinux") continue;
    const name = decodeName(Buffer.from(unescapeOctal(attribute[1]!), "latin1"));
    current?.set(name, Buffer.from(attribute[2] ?? "", "hex"));
  }
  return found;
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
