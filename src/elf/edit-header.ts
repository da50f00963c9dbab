import { EI, PF, PT } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { addHeader } from "./headers.ts";
import type { Phdr } from "./structs.ts";

/** EI_OSABI. */
export function editOsAbi(draft: Draft, osAbi: number | undefined): string[] {
  const { ident } = draft.header;
  const old = ident[EI.OSABI];
  if (osAbi === undefined || osAbi === old) return [];
  ident[EI.OSABI] = osAbi;
  return [`OS ABI ${old} -> ${osAbi}`];
}

/** PT_GNU_STACK's execute bit. Without the header the kernel decides by machine, so both answers need one. */
export function editExecutableStack(draft: Draft, executable: boolean | undefined): string[] {
  if (executable === undefined) return [];
  const stack = draft.segments.find((one) => one.type === PT.GNU_STACK);
  const flags = PF.R | PF.W | (executable ? PF.X : 0);
  if (stack === undefined) {
    const header: Phdr = {
      type: PT.GNU_STACK,
      flags,
      offset: 0n,
      vaddr: 0n,
      paddr: 0n,
      filesz: 0n,
      memsz: 0n,
      align: 1n,
    };
    addHeader(draft, header);
  } else {
    const wanted = executable ? stack.flags | PF.X : stack.flags & ~PF.X;
    if (wanted === stack.flags) return [];
    stack.flags = wanted;
  }
  return [executable ? "executable stack" : "executable stack removed"];
}
