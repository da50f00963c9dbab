/**
 * One row per architecture: what ELF, OCI, systemd, the loaders and qemu call it.
 * Sources: gABI e_machine registry, Go's GOARCH, UAPI.4 `ARCHITECTURE=`, musl's LDSO_ARCH, qemu-user.
 */
export interface Architecture {
  /** OCI platform (`linux/<oci>`), with the variant that is meant when none is given. */
  readonly oci: string;
  readonly variant?: string;
  /** `ARCHITECTURE=` in extension-release. */
  readonly systemd: string;
  /** `uname -m` and every other spelling users write. */
  readonly aliases: readonly string[];
  readonly elf: { readonly machine: number; readonly bits: 32 | 64; readonly endian: "little" | "big" };
  /** `ARCH` in `ld-musl-ARCH.so.1`. */
  readonly musl: string;
  /** `qemu-<name>` of qemu-user. */
  readonly qemu: string;
}

const little32 = { bits: 32, endian: "little" } as const;
const little64 = { bits: 64, endian: "little" } as const;
const big64 = { bits: 64, endian: "big" } as const;

/** Every architecture that an extension can name. */
export const architectures: readonly Architecture[] = [
  {
    oci: "amd64",
    systemd: "x86-64",
    aliases: ["x86_64", "x64"],
    elf: { machine: 62, ...little64 },
    musl: "x86_64",
    qemu: "x86_64",
  },
  {
    oci: "arm64",
    variant: "v8",
    systemd: "arm64",
    aliases: ["aarch64", "arm64v8"],
    elf: { machine: 183, ...little64 },
    musl: "aarch64",
    qemu: "aarch64",
  },
  {
    oci: "386",
    systemd: "x86",
    aliases: ["i386", "i486", "i586", "i686"],
    elf: { machine: 3, ...little32 },
    musl: "i386",
    qemu: "i386",
  },
  {
    oci: "arm",
    variant: "v7",
    systemd: "arm",
    aliases: ["armhf", "armv7l", "arm32v7"],
    elf: { machine: 40, ...little32 },
    musl: "armhf",
    qemu: "arm",
  },
  {
    oci: "riscv64",
    systemd: "riscv64",
    aliases: [],
    elf: { machine: 243, ...little64 },
    musl: "riscv64",
    qemu: "riscv64",
  },
  {
    oci: "ppc64le",
    systemd: "ppc64-le",
    aliases: ["powerpc64le", "ppc64el"],
    elf: { machine: 21, ...little64 },
    musl: "powerpc64le",
    qemu: "ppc64le",
  },
  { oci: "s390x", systemd: "s390x", aliases: [], elf: { machine: 22, ...big64 }, musl: "s390x", qemu: "s390x" },
  {
    oci: "loong64",
    systemd: "loongarch64",
    aliases: ["loongarch64"],
    elf: { machine: 258, ...little64 },
    musl: "loongarch64",
    qemu: "loongarch64",
  },
  {
    oci: "mips64le",
    systemd: "mips64-le",
    aliases: ["mips64el"],
    elf: { machine: 8, ...little64 },
    musl: "mips64el",
    qemu: "mips64el",
  },
];

/** The row that any of its names means (`x86-64`, `amd64`, `aarch64` ...); undefined for an unknown name. */
export function findArchitecture(name: string): Architecture | undefined {
  return architectures.find((row) => row.oci === name || row.systemd === name || row.aliases.includes(name));
}

/** The row an ELF header belongs to; undefined for machines no extension can name. */
export function architectureOfElf(elf: Architecture["elf"]): Architecture | undefined {
  return architectures.find(
    (row) => row.elf.machine === elf.machine && row.elf.bits === elf.bits && row.elf.endian === elf.endian,
  );
}
