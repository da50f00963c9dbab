import { ET, type Format, PF, PT } from "../../elf/index.ts";
import { Ehdr, Phdr } from "../../elf/structs.ts";

/**
 * What a register of a call is loaded with: a number, the address of a text, the program's own argument (`argv`), the rest of
 * its arguments (`argvFrom`), its environment, or what the call before returned.
 */
export type Operand =
  | number
  | { readonly text: Uint8Array }
  | { readonly argv: number }
  | { readonly argvFrom: number }
  | "environment"
  | "result";

/**
 * A system call. Where the kernel refuses it, the program goes on behind the label `otherwise`, or with the next step without
 * one; with `errno`, only this refusal lets it go on with the next step.
 */
export interface Call {
  readonly call: SystemCall;
  readonly operands: readonly Operand[];
  readonly otherwise?: string;
  readonly errno?: number;
}

/** A step of a program: a call, or a place that calls go to. */
export type Step = Call | { readonly label: string };

/** The calls that a starter makes. */
export type SystemCall = keyof typeof generic;

/** Linux include/uapi/asm-generic/unistd.h, which arm64 and riscv64 use. */
const generic = {
  chdir: 49,
  chroot: 51,
  execve: 221,
  exit_group: 94,
  mount: 40,
  openat: 56,
  unshare: 97,
  write: 64,
} as const;

/** How a machine is told to make system calls. */
interface Machine {
  readonly elf: number;
  readonly calls: Readonly<Record<SystemCall, number>>;
  /** Instructions that load operand number `index`; a text is loaded by its address. */
  load(index: number, operand: Exclude<Operand, { text: Uint8Array }>): number[];
  /** Makes the call with that number. */
  enter(call: number): number[];
  /** Goes `distance` bytes on from here if the result is negative, or if it is not `-errno`. */
  branch(distance: number, errno?: number): number[];
}

const bytesOf = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const words = (...values: readonly number[]): number[] => values.flatMap((value) => bytesOf(value >>> 0));

/** The kernel leaves argc at the stack pointer, argv behind it, a null pointer, the environment (psABI, process startup). */
const argvAt = (index: number): number => 8 + 8 * index;

/** x86-64 (Intel SDM volume 2): arguments in rdi, rsi, rdx, r10, r8. */
const x86: Machine = {
  elf: 62,
  calls: { chdir: 80, chroot: 161, execve: 59, exit_group: 231, mount: 165, openat: 257, unshare: 272, write: 1 },
  load(index, operand) {
    const register = [7, 6, 2, 10, 8][index]!;
    const high = register >> 3;
    const low = register & 7;
    if (operand === "result") return [0x89, 0xc0 | low]; // mov %eax, %edi
    // mov (%rsp), %rdx; lea 0x10(%rsp,%rdx,8), %rdx
    if (operand === "environment") return [0x48, 0x8b, 0x14, 0x24, 0x48, 0x8d, 0x54, 0xd4, 0x10];
    if (typeof operand === "number") return [...(high ? [0x41] : []), 0xb8 | low, ...bytesOf(operand >>> 0)];
    const [opcode, at] = "argv" in operand ? [0x8b, argvAt(operand.argv)] : [0x8d, argvAt(operand.argvFrom)];
    return [0x48 | (high << 2), opcode, 0x84 | (low << 3), 0x24, ...bytesOf(at)]; // mov or lea at(%rsp)
  },
  enter: (call) => [0xb8, ...bytesOf(call), 0x0f, 0x05],
  branch: (distance, errno) =>
    errno === undefined
      ? [0x85, 0xc0, 0x0f, 0x88, ...bytesOf((distance - 8) >>> 0)] // test %eax, %eax; js
      : [0x3d, ...bytesOf(-errno >>> 0), 0x0f, 0x85, ...bytesOf((distance - 11) >>> 0)], // cmp $-errno, %eax; jne
};

/** AArch64 (Arm ARM, A64 instructions): arguments in x0 to x4, the result in x0. */
const arm64: Machine = {
  elf: 183,
  calls: generic,
  load(index, operand) {
    if (operand === "result") return []; // it is in x0, where it is wanted
    if (operand === "environment") {
      // ldr x2, [sp]; add x9, sp, #16; add x2, x9, x2, lsl #3
      return words(0xf94003e2, 0x910043e9, 0x8b020d22);
    }
    if (typeof operand === "number") {
      const movz = 0x52800000 | ((operand & 0xffff) << 5) | index;
      const movk = 0x72a00000 | ((operand >>> 16) << 5) | index;
      return words(movz, movk);
    }
    if ("argv" in operand) return words(0xf9400000 | ((argvAt(operand.argv) / 8) << 10) | (31 << 5) | index); // ldr [sp]
    return words(0x91000000 | (argvAt(operand.argvFrom) << 10) | (31 << 5) | index); // add sp
  },
  // mov w8, call; svc #0
  enter: (call) => words(0x52800000 | (call << 5) | 8, 0xd4000001),
  branch: (distance, errno) =>
    errno === undefined
      ? words(0x37000000 | (31 << 19) | (((distance / 4) & 0x3fff) << 5)) // tbnz w0, #31: reaches 32 KiB
      : words(0x3100001f | (errno << 10), 0x54000001 | ((((distance - 4) / 4) & 0x7ffff) << 5)), // cmn w0, #errno; b.ne
};

const machines: readonly Machine[] = [x86, arm64];
const reach = 1 << 15;

/**
 * A static program that is nothing but a list of system calls, for the machine with this ELF number (`e_machine`).
 * @returns its bytes; undefined for machines that have no row here, and for lists too long for the machine's branches.
 */
export function assembleCalls(steps: readonly Step[], elfMachine: number): Uint8Array | undefined {
  const machine = machines.find(({ elf }) => elf === elfMachine);
  if (machine === undefined) return undefined;
  // Every operand has a fixed size, so places are known after one round with any addresses.
  const placed = layOut(steps, machine, new Map(), 0);
  if (placed.code.length > reach) return undefined;
  const format: Format = { bits: 64, endian: "little" };
  const headers = Ehdr.size(format) + 2 * Phdr.size(format);
  const { code, texts } = layOut(steps, machine, placed.labels, base + headers + placed.code.length);
  const size = BigInt(headers + code.length + texts.length);
  const whole = { offset: 0n, vaddr: BigInt(base), paddr: BigInt(base), filesz: size, memsz: size, align: 0x10000n };
  const none = { offset: 0n, vaddr: 0n, paddr: 0n, filesz: 0n, memsz: 0n, align: 16n };
  return Buffer.concat([
    Ehdr.write(format, {
      ident: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, ...Array.from({ length: 9 }, () => 0)),
      type: ET.EXEC,
      machine: machine.elf,
      version: 1,
      entry: BigInt(base + headers),
      phoff: BigInt(Ehdr.size(format)),
      shoff: 0n,
      flags: 0,
      ehsize: Ehdr.size(format),
      phentsize: Phdr.size(format),
      phnum: 2,
      shentsize: 0,
      shnum: 0,
      shstrndx: 0,
    }),
    Phdr.write(format, { type: PT.LOAD, flags: PF.R | PF.X, ...whole }),
    // Without this row the stack would be executable.
    Phdr.write(format, { type: PT.GNU_STACK, flags: PF.R | PF.W, ...none }),
    code,
    texts,
  ]);
}

/** Where the program lies in memory: ld's usual place, in reach of 32 bit addresses. */
const base = 0x400000;

interface Layout {
  readonly code: Uint8Array;
  readonly texts: Uint8Array;
  readonly labels: ReadonlyMap<string, number>;
}

function layOut(steps: readonly Step[], machine: Machine, goals: ReadonlyMap<string, number>, textsAt: number): Layout {
  const code: number[] = [];
  const texts: number[] = [];
  const labels = new Map<string, number>();
  const address = (text: Uint8Array): number => {
    texts.push(...text, 0);
    return textsAt + texts.length - text.length - 1;
  };
  for (const step of steps) {
    if ("label" in step) {
      labels.set(step.label, code.length);
      continue;
    }
    for (const [index, operand] of step.operands.entries()) {
      code.push(
        ...machine.load(index, typeof operand === "object" && "text" in operand ? address(operand.text) : operand),
      );
    }
    code.push(...machine.enter(machine.calls[step.call]));
    if (step.otherwise !== undefined)
      code.push(...machine.branch((goals.get(step.otherwise) ?? code.length) - code.length, step.errno));
  }
  return { code: Uint8Array.from(code), texts: Uint8Array.from(texts), labels };
}
