import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

/** Every dynamic x86-64 ELF file below the folders, or with `every` each ELF file whatever its kind; sorted by path. */
export function listElfFiles(folders, { largest = 40e6, every = false } = {}) {
  const found = [];
  const visit = (folder) => {
    let entries = [];
    try {
      entries = readdirSync(folder, { withFileTypes: true });
    } catch {
      return;
    }
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile() && isWanted(path, every) && statSync(path).size <= largest) found.push(path);
    }
  };
  for (const folder of folders) visit(folder);
  return found.sort();
}

const head = Buffer.alloc(20);

function isWanted(path, every) {
  let file;
  try {
    file = openSync(path, "r");
  } catch {
    return false;
  }
  const length = readSync(file, head, 0, 20, 0);
  closeSync(file);
  if (length < 20 || head.readUInt32BE(0) !== 0x7f454c46) return false;
  // 64 bit, little endian, ET_EXEC or ET_DYN, x86-64.
  return (
    every || (head[4] === 2 && head[5] === 1 && [2, 3].includes(head.readUInt16LE(16)) && head.readUInt16LE(18) === 62)
  );
}

/** `count` of the items in an order that only the seed decides (xorshift32). */
export function sample(items, count, seed) {
  const rest = [...items];
  const chosen = [];
  let state = seed | 1;
  while (chosen.length < count && rest.length > 0) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    chosen.push(rest.splice((state >>> 0) % rest.length, 1)[0]);
  }
  return chosen;
}
