/** What every sandbox of an image's programs has, by whomever it is made. */
export interface Confinement {
  /** For bwrap, before the command. */
  readonly options: readonly string[];
  /** What bwrap reads from its descriptors, and closes then. */
  readonly given: ReadonlyMap<number, Uint8Array>;
}

/**
 * No capabilities (bwrap leaves all of them to the machine's root), no keyrings, no terminal of the caller's; `/proc` as
 * `place`, without the files by which uid 0 commands the machine: their modes let it, whatever its capabilities.
 * `inherited` are the descriptors that it would have from this process' caller: none of them leads anywhere, and
 * bwrap, which closes no other than those it is told of, reads them as further options, of which there are none.
 */
export const confine = (place: string, inherited: readonly number[]): Confinement => ({
  options: [
    ...["--cap-drop", "ALL", "--seccomp", "3", "--new-session", "--proc", place],
    ...["sys", "sysrq-trigger", "irq", "bus", "acpi", "scsi"].flatMap((name) => [
      "--ro-bind-try",
      `/proc/${name}`,
      `${place === "/" ? "" : place}/${name}`,
    ]),
    ...inherited.flatMap((descriptor) => ["--args", String(descriptor)]),
  ],
  given: new Map([[3, noKeyrings()], ...inherited.map((descriptor) => [descriptor, new Uint8Array()] as const)]),
});

/** For a child's `stdio` after the first three: a pipe for each that is given. */
export const pipesFor = (given: Confinement["given"]): ("pipe" | "ignore")[] =>
  Array.from({ length: Math.max(2, ...given.keys()) - 2 }, (_, index) => (given.has(index + 3) ? "pipe" : "ignore"));

/** AUDIT_ARCH_… of linux/audit.h, and the first and last number of the three calls there. */
const machines: readonly (readonly [arch: number, first: number, last: number])[] = [
  [0xc000003e, 248, 250], // x86-64
  [0x40000003, 286, 288], // i386
  [0xc00000b7, 217, 219], // arm64
  [0x40000028, 309, 311], // arm
  [0xc00000f3, 217, 219], // riscv64
  [0xc0000015, 269, 271], // ppc64le
  [0x80000016, 278, 280], // s390x
  [0xc0000102, 217, 219], // loongarch64
  [0xc0000008, 5239, 5241], // mips64le
];

/** linux/bpf_common.h: what the instructions below do. */
const [LOAD, AND, EQUAL, AT_LEAST, ABOVE, RETURN] = [0x20, 0x54, 0x15, 0x35, 0x25, 0x06];
/** struct seccomp_data: the call's number and the machine. */
const [NUMBER, ARCH] = [0, 4];
/** x32's calls are those of x86-64 with a bit of their own. */
const WITHOUT_X32 = 0xbfffffff;
const ALLOW = 0x7fff0000;
const ENOSYS = 0x00050000 | 38;

type Instruction = readonly [code: number, isTrue: number, isFalse: number, value: number];

const program: readonly Instruction[] = [
  [LOAD, 0, 0, ARCH],
  ...machines.flatMap(([arch, first, last]): Instruction[] => [
    // Another machine: the next row.
    [EQUAL, 0, 6, arch],
    [LOAD, 0, 0, NUMBER],
    [AND, 0, 0, WITHOUT_X32],
    [AT_LEAST, 0, 2, first],
    [ABOVE, 1, 0, last],
    [RETURN, 0, 0, ENOSYS],
    [RETURN, 0, 0, ALLOW],
  ]),
  [RETURN, 0, 0, ALLOW],
];

/**
 * The filter for `--seccomp`, as this machine's kernel reads it (struct sock_filter of linux/filter.h): add_key(2),
 * request_key(2) and keyctl(2) do not exist inside. No namespace hides keyrings (keyrings(7)): whoever runs in a sandbox
 * has the caller's session keyring, and may read every secret in it.
 */
function noKeyrings(): Uint8Array {
  const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  const view = new DataView(new ArrayBuffer(program.length * 8));
  for (const [at, [code, isTrue, isFalse, value]] of program.entries()) {
    view.setUint16(at * 8, code, isLittle);
    view.setUint8(at * 8 + 2, isTrue);
    view.setUint8(at * 8 + 3, isFalse);
    view.setUint32(at * 8 + 4, value, isLittle);
  }
  return new Uint8Array(view.buffer);
}
