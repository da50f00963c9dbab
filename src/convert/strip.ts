import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { ByteSource } from "../core/bytes.ts";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { type ElfFile, ET, isElf, PT, readElf, readSections, SHF, SHT } from "../elf/index.ts";
import type { Plan } from "../extension/plan.ts";
import { tryCommand } from "../host/command.ts";
import { openFolder } from "../oci/folder-rootfs.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/**
 * The same root, but the ELF files that a plan takes are stripped in it; everything that is planned, proven and checked
 * afterwards rests on those bytes. A file is replaced only when all that is mapped of it stayed as it was. `folder` is
 * empty, and holds the stripped files as long as the root is in use.
 * @throws FlixwrapError `host-tool-missing` when the machine has neither `strip` nor `llvm-strip`.
 */
export async function stripRoot(rootfs: Rootfs, plan: Plan, folder: string, context: Context): Promise<Rootfs> {
  const stripped = new Map<string, ByteSource>();
  let saved = 0;
  let count = 0;
  for (const { from, elf } of stripable(rootfs, plan)) {
    const content = await strip(elf, join(folder, `${count++}`), context);
    if (content === undefined) continue;
    stripped.set(from.identity, content);
    saved += from.size - content.size;
  }
  context.emit({ kind: "step", step: "strip", detail: `${stripped.size} files, ${saved} bytes less` });
  return replaceContents(rootfs, stripped);
}

/** Programs and libraries that have something to lose, each file once. */
function stripable(rootfs: Rootfs, { actions }: Plan): { readonly from: RootNode; readonly elf: ElfFile }[] {
  const nodes = actions.flatMap((action) => ("from" in action && action.from.type === "file" ? [action.from] : []));
  return [...new Map(nodes.map((node) => [node.identity, node])).values()].flatMap((from) => {
    const content = rootfs.open(from);
    if (!isElf(content)) return [];
    const elf = readElf(content, from.path);
    return hasDebris(elf) && isWholeElf(elf) ? [{ from, elf }] : [];
  });
}

/** A symbol table or debug information; `.comment` and the like are not worth a process. */
function hasDebris(elf: ElfFile): boolean {
  if (elf.type !== ET.EXEC && elf.type !== ET.DYN) return false;
  const sections = readSections(elf);
  // The code of a file with nothing but debug information lies elsewhere.
  if (sections.some(({ flags, type }) => (flags & SHF.EXECINSTR) !== 0n && type === SHT.NOBITS)) return false;
  const isLost = (type: number, flags: bigint, size: bigint): boolean =>
    type === SHT.SYMTAB || (type === SHT.PROGBITS && (flags & SHF.ALLOC) === 0n && size > 4096n);
  return sections.some(({ type, flags, size }) => isLost(type, flags, size));
}

/**
 * Without a payload behind the last section (bun, AppImage), which strip drops; and with the program headers where
 * linkers put them: GNU strip damages a file in which patchelf moved them (the program then does not start).
 */
function isWholeElf(elf: ElfFile): boolean {
  const { header } = elf;
  const ends = [
    header.shoff + BigInt(header.shnum * header.shentsize),
    ...readSections(elf).map(({ type, offset, size }) => (type === SHT.NOBITS ? 0n : offset + size)),
    ...elf.segments.map(({ offset, filesz }) => offset + filesz),
  ];
  return header.phoff === BigInt(header.ehsize) && ends.some((end) => end >= BigInt(elf.source.size));
}

/** The bytes of the stripped file; undefined, with a warning, when no tool here can strip it without damage. */
async function strip(elf: ElfFile, path: string, context: Context): Promise<ByteSource | undefined> {
  await mkdir(path);
  await pipeline(elf.source.stream(), createWriteStream(join(path, "in")));
  // A library keeps the symbols that relocations of the static linker name, as dh_strip does.
  const args = [elf.interpreter === undefined ? "--strip-unneeded" : "--strip-all", "-o", "out", "in"];
  const outcomes: string[] = [];
  for (const tool of ["strip", "llvm-strip"]) {
    try {
      const purpose = "strip the files";
      const { status, stderr } = await tryCommand({ tool, package: "binutils", purpose, args, cwd: path }, context);
      const content = status === 0 ? openOutput(path, context) : undefined;
      if (content !== undefined && isSameInMemory(elf, readElf(content, elf.name))) return content;
      outcomes.push(status === 0 ? `${tool} damages it` : (stderr.split("\n")[0] ?? ""));
    } catch (error) {
      if (!(error instanceof FlixwrapError) || error.code !== "host-tool-missing") throw error;
      if (tool === "llvm-strip" && outcomes.length === 0) throw missing();
    }
  }
  context.emit({ kind: "warning", message: `${elf.name} is shipped as it is, not stripped: ${outcomes.join("; ")}` });
  return undefined;
}

const missing = (): FlixwrapError =>
  new FlixwrapError("host-tool-missing", {
    what: "strip or llvm-strip is required for --strip",
    hint: "install package binutils, or llvm for files of another architecture",
  });

function openOutput(path: string, context: Context): ByteSource | undefined {
  const files = openFolder(path, context);
  const node = files.lookup(rootPath("/out"));
  return node === undefined ? undefined : files.open(node);
}

/** Whether the kernel and the loader see the same: every PT_LOAD with its bytes, but for the ELF headers at the beginning. */
function isSameInMemory(a: ElfFile, b: ElfFile): boolean {
  const loads = ({ segments }: ElfFile): ElfFile["segments"] => segments.filter(({ type }) => type === PT.LOAD);
  const [before, after] = [loads(a), loads(b)];
  const headers = Math.max(...[a, b].map(({ header }) => header.ehsize + header.phnum * header.phentsize));
  return (
    a.segments.length === b.segments.length &&
    before.length === after.length &&
    before.every((one, index) => {
      const other = after[index]!;
      if (one.vaddr !== other.vaddr || one.memsz !== other.memsz || one.filesz !== other.filesz) return false;
      if (one.flags !== other.flags) return false;
      return isSameRange(a, b, Number(one.offset), Number(other.offset), Number(one.filesz), headers);
    })
  );
}

function isSameRange(a: ElfFile, b: ElfFile, from: number, to: number, size: number, headers: number): boolean {
  const step = 1 << 20;
  const start = from === 0 && to === 0 ? headers : 0;
  for (let at = start; at < size; at += step) {
    const length = Math.min(step, size - at);
    if (Buffer.compare(a.source.read(from + at, length), b.source.read(to + at, length)) !== 0) return false;
  }
  return true;
}

/** The root with other contents for some files, by their identity. */
function replaceContents(rootfs: Rootfs, contents: ReadonlyMap<string, ByteSource>): Rootfs {
  const adjust = (node: RootNode): RootNode => {
    const content = contents.get(node.identity);
    return content === undefined ? node : { ...node, size: content.size };
  };
  const adjustFound = (node: RootNode | undefined): RootNode | undefined =>
    node === undefined ? undefined : adjust(node);
  return {
    description: rootfs.description,
    lookup: (path) => adjustFound(rootfs.lookup(path)),
    resolve: (path) => adjustFound(rootfs.resolve(path)),
    list: (folder) => rootfs.list(folder),
    open: (node) => contents.get(node.identity) ?? rootfs.open(node),
    *walk(from) {
      for (const node of rootfs.walk(from)) yield adjust(node);
    },
  };
}
