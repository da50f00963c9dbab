import { spawnSync } from "node:child_process";
import { searchPath, type Context } from "../core/context.ts";
import { decodeName } from "../core/names.ts";
import type { RootPath } from "../core/paths.ts";

type Xattrs = ReadonlyMap<string, Uint8Array>;

/** Extended attributes by path inside the folder; only files that have some. */
type FoundXattrs = ReadonlyMap<RootPath, Xattrs>;

/** The extended attributes of a folder's files, read when they are first asked for. */
export interface FolderXattrs {
  of(path: RootPath): Xattrs;
  /** Who knows of which files he will ask has these read alone, instead of the whole folder. */
  expect(paths: readonly RootPath[]): void;
}

/** A command line has 2 MiB, and a name up to 4 KiB. */
const mostExpected = 400;
const none: Xattrs = new Map();

/** Node has no getxattr(2): getfattr(1) is asked, for the expected files at once, or for all. */
export function openFolderXattrs(folder: string, context: Context): FolderXattrs {
  let all: FoundXattrs | undefined;
  const expected = new Map<RootPath, Xattrs>();
  return {
    of: (path) => expected.get(path) ?? (all ??= readXattrs(folder, undefined, context)).get(path) ?? none,
    expect(paths) {
      // An argument is text: names that are not come with the whole folder.
      const asked = [...new Set(paths)].filter((path) => !expected.has(path) && !/[\udc80-\udcff]/u.test(path));
      if (all !== undefined || asked.length === 0 || asked.length > mostExpected) return;
      const found = readXattrs(folder, asked, context);
      for (const path of asked) expected.set(path, found.get(path) ?? none);
    },
  };
}

/** Without the program the answer is empty and a notice says what may be lost. */
function readXattrs(folder: string, paths: readonly RootPath[] | undefined, context: Context): FoundXattrs {
  const files = paths === undefined ? ["-R", "-P", "."] : ["--", ...paths.map((path) => `.${path}`)];
  // -P: links are not followed while walking, -h: nor at the end. POSIXLY_CORRECT-free hex is byte-exact.
  const run = spawnSync("getfattr", ["-h", "-d", "-m", "-", "-e", "hex", ...files], {
    cwd: folder,
    env: { PATH: searchPath(context.env, "/usr/bin:/bin"), LC_ALL: "C" },
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
export function parseGetfattr(listing: Uint8Array): FoundXattrs {
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
