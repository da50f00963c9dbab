import { type ExtPath, parentOf } from "../core/paths.ts";

/** The text of a symlink at `from` that leads to `to`: always relative, so that it holds in any root. */
export function relativeLink(from: ExtPath, to: ExtPath): string {
  const here = parentOf(from).split("/").filter(Boolean);
  const there = to.split("/").filter(Boolean);
  let common = 0;
  while (common < here.length && common < there.length && here[common] === there[common]) common += 1;
  return [...here.slice(common).map(() => ".."), ...there.slice(common)].join("/") || ".";
}
