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
  /** Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static. */
  aarch64: {
    compiler: "aarch64-linux-gnu-gcc",
    interpreter: "/lib/ld-linux-aarch64.so.1",
    files: {
      "/lib/ld-linux-aarch64.so.1": "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
      "/lib/aarch64-linux-gnu/libc.so.6": "/usr/aarch64-linux-gnu/lib/libc.so.6",
    },
    emulator: "/usr/bin/qemu-aarch64-static",
    traces: true,
  },
} satisfies Readonly<Record<string, Runtime>>;

export type RuntimeName = keyof typeof runtimes;
