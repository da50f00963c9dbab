import { PN_XNUM, PT } from "./constants.ts";
import { useGrowth, type Draft } from "./draft.ts";
import { refused } from "./problems.ts";
import { hasHeaderRoom } from "./space.ts";
import { Phdr } from "./structs.ts";

/** Where another program header comes from. The table stays where every kernel finds it. */

/** Adds a header that maps nothing. */
export function addHeader(draft: Draft, header: Phdr): void {
  const empty = draft.segments.findIndex((one) => one.type === PT.NULL);
  if (empty >= 0) {
    draft.segments = draft.segments.with(empty, header);
    return;
  }
  if (!growTable(draft)) {
    throw refused("elf-no-header", draft.file, "no room for another program header");
  }
  draft.segments = [...draft.segments, header];
}

/** Makes room for one more header behind the table, if there are unused bytes. */
export function growTable(draft: Draft): boolean {
  if (draft.segments.length + 1 >= PN_XNUM || !hasHeaderRoom(draft)) return false;
  countUp(draft);
  return true;
}

/** One header more; PT_PHDR tells the table's size, too. */
export function countUp(draft: Draft): void {
  draft.header.phnum += 1;
  for (const segment of draft.segments) {
    if (segment.type !== PT.PHDR) continue;
    segment.filesz += BigInt(Phdr.size(draft.file));
    segment.memsz = segment.filesz;
  }
  useGrowth(draft, "headers");
}
