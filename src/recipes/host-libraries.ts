import type { Architecture } from "../core/architectures.ts";

/** The loader's names (glibc's sysdeps/unix/sysv/linux shlib-versions). */
const loaders: Readonly<Record<string, string>> = {
  "x86-64": "ld-linux-x86-64.so.2",
  arm64: "ld-linux-aarch64.so.1",
  x86: "ld-linux.so.2",
  arm: "ld-linux-armhf.so.3",
  riscv64: "ld-linux-riscv64-lp64d.so.1",
  "ppc64-le": "ld64.so.2",
  s390x: "ld64.so.1",
  loongarch64: "ld-linux-loongarch-lp64d.so.1",
};

/** What a program built for any glibc host may ask for; since 2.34 most of these are empty shells. */
const glibc = [
  "libc.so.6",
  "libm.so.6",
  "libmvec.so.1",
  "libdl.so.2",
  "libpthread.so.0",
  "librt.so.1",
  "libresolv.so.2",
  "libutil.so.1",
];

/** A recipe's `host-libraries` as names of files. */
export function expandHostLibraries(names: readonly string[], architecture: Architecture): string[] {
  const loader = loaders[architecture.systemd];
  const all = names.flatMap((name) =>
    name === "glibc" ? [...(loader === undefined ? [] : [loader]), ...glibc] : [name],
  );
  return [...new Set(all)];
}
