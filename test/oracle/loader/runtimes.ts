import { execFileSync } from "node:child_process";

/** A loader with its C library, where fixtures have them, and how they are run. */
export interface Runtime {
  readonly compiler: string;
  readonly interpreter: string;
  /** Path in the root -> file of this machine. */
  readonly files: Readonly<Record<string, string>>;
  /** What a foreign program is started with: a static qemu inside the root. */
  readonly emulator?: string;
  /** Knows LD_TRACE_LOADED_OBJECTS: the program starts as always, and all that is missing is told (`--list` stops). */
  readonly traces: boolean;
}

const ask = (compiler: string, question: string): string =>
  execFileSync(compiler, [question], { encoding: "utf8" }).trim();
const multiarch = ask("gcc", "-print-multiarch");

/** Debian: gcc-TRIPLET, libc6-dev-ARCH-cross, qemu-user-static. */
function foreign(machine: string, triplet: string, loader: string): Runtime {
  return {
    compiler: `${triplet}-gcc`,
    interpreter: `/lib/${loader}`,
    files: {
      [`/lib/${loader}`]: `/usr/${triplet}/lib/${loader}`,
      [`/lib/${triplet}/libc.so.6`]: `/usr/${triplet}/lib/libc.so.6`,
    },
    emulator: `/usr/bin/qemu-${machine}-static`,
    traces: true,
  };
}

export const runtimes = {
  glibc: {
    compiler: "gcc",
    interpreter: "/lib64/ld-linux-x86-64.so.2",
    files: {
      "/lib64/ld-linux-x86-64.so.2": ask("gcc", "-print-file-name=ld-linux-x86-64.so.2"),
      [`/lib/${multiarch}/libc.so.6`]: `/lib/${multiarch}/libc.so.6`,
    },
    traces: true,
  },
  musl: {
    compiler: "musl-gcc",
    interpreter: "/lib/ld-musl-x86_64.so.1",
    files: { "/lib/ld-musl-x86_64.so.1": "/lib/ld-musl-x86_64.so.1" },
    traces: false,
  },
  aarch64: foreign("aarch64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
  armhf: foreign("arm", "arm-linux-gnueabihf", "ld-linux-armhf.so.3"),
  /** Big endian. */
  s390x: foreign("s390x", "s390x-linux-gnu", "ld64.so.1"),
} satisfies Readonly<Record<string, Runtime>>;

export type RuntimeName = keyof typeof runtimes;
