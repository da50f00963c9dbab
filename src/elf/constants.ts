/**
 * The numbers of the ELF specification under the specification's names.
 * Sources: gABI (chapters 4 and 5), the Linux extensions of the LSB, glibc's <elf.h> for values.
 */

/** Types of files: e_type. */
export const ET = { NONE: 0, REL: 1, EXEC: 2, DYN: 3, CORE: 4 } as const;

/** Positions inside e_ident. */
export const EI = { CLASS: 4, DATA: 5, VERSION: 6, OSABI: 7, ABIVERSION: 8 } as const;

/** Machines with peculiarities of their own: e_machine. */
export const EM = { MIPS: 8, PARISC: 15, PPC64: 21, S390: 22, SPARCV9: 43, IA_64: 50, ALPHA: 0x9026 } as const;

/** e_phnum that means "see sh_info of section 0"; e_shstrndx that means "see sh_link of section 0". */
export const PN_XNUM = 0xffff;
/** Section numbers that name no section. */
export const SHN = { UNDEF: 0, LORESERVE: 0xff00, ABS: 0xfff1, COMMON: 0xfff2, XINDEX: 0xffff } as const;

/** Types of segments: p_type. */
export const PT = {
  NULL: 0,
  LOAD: 1,
  DYNAMIC: 2,
  INTERP: 3,
  NOTE: 4,
  SHLIB: 5,
  PHDR: 6,
  TLS: 7,
  GNU_EH_FRAME: 0x6474e550,
  GNU_STACK: 0x6474e551,
  GNU_RELRO: 0x6474e552,
  GNU_PROPERTY: 0x6474e553,
} as const;

/** Permissions of a segment: p_flags. */
export const PF = { X: 1, W: 2, R: 4 } as const;

/** Types of sections: sh_type. */
export const SHT = {
  NULL: 0,
  PROGBITS: 1,
  SYMTAB: 2,
  STRTAB: 3,
  RELA: 4,
  HASH: 5,
  DYNAMIC: 6,
  NOTE: 7,
  NOBITS: 8,
  REL: 9,
  DYNSYM: 11,
  SYMTAB_SHNDX: 18,
  GNU_HASH: 0x6ffffff6,
  GNU_VERDEF: 0x6ffffffd,
  GNU_VERNEED: 0x6ffffffe,
  GNU_VERSYM: 0x6fffffff,
} as const;

/** Attributes of a section: sh_flags. */
export const SHF = { WRITE: 1n, ALLOC: 2n, EXECINSTR: 4n } as const;

/** Tags of the dynamic table: d_tag. */
export const DT = {
  NULL: 0,
  NEEDED: 1,
  PLTRELSZ: 2,
  PLTGOT: 3,
  HASH: 4,
  STRTAB: 5,
  SYMTAB: 6,
  RELA: 7,
  RELASZ: 8,
  RELAENT: 9,
  STRSZ: 10,
  SYMENT: 11,
  INIT: 12,
  FINI: 13,
  SONAME: 14,
  RPATH: 15,
  SYMBOLIC: 16,
  REL: 17,
  RELSZ: 18,
  RELENT: 19,
  PLTREL: 20,
  DEBUG: 21,
  TEXTREL: 22,
  JMPREL: 23,
  BIND_NOW: 24,
  INIT_ARRAY: 25,
  FINI_ARRAY: 26,
  INIT_ARRAYSZ: 27,
  FINI_ARRAYSZ: 28,
  RUNPATH: 29,
  FLAGS: 30,
  PREINIT_ARRAY: 32,
  PREINIT_ARRAYSZ: 33,
  SYMTAB_SHNDX: 34,
  RELRSZ: 35,
  RELR: 36,
  RELRENT: 37,
  ANDROID_REL: 0x6000000f,
  ANDROID_RELSZ: 0x60000010,
  ANDROID_RELA: 0x60000011,
  ANDROID_RELASZ: 0x60000012,
  GNU_HASH: 0x6ffffef5,
  TLSDESC_PLT: 0x6ffffef6,
  TLSDESC_GOT: 0x6ffffef7,
  GNU_CONFLICT: 0x6ffffef8,
  GNU_LIBLIST: 0x6ffffef9,
  CONFIG: 0x6ffffefa,
  DEPAUDIT: 0x6ffffefb,
  AUDIT: 0x6ffffefc,
  VERSYM: 0x6ffffff0,
  RELACOUNT: 0x6ffffff9,
  RELCOUNT: 0x6ffffffa,
  FLAGS_1: 0x6ffffffb,
  VERDEF: 0x6ffffffc,
  VERDEFNUM: 0x6ffffffd,
  VERNEED: 0x6ffffffe,
  VERNEEDNUM: 0x6fffffff,
  AUXILIARY: 0x7ffffffd,
  FILTER: 0x7fffffff,
  MIPS_RLD_VERSION: 0x70000001,
  MIPS_GOTSYM: 0x70000013,
  MIPS_RLD_MAP: 0x70000016,
  MIPS_RLD_MAP_REL: 0x70000035,
  MIPS_XHASH: 0x70000036,
} as const;

/** The tags whose value is an offset into the dynamic string table. */
export const stringTags: ReadonlySet<number> = new Set([
  DT.NEEDED,
  DT.SONAME,
  DT.RPATH,
  DT.RUNPATH,
  DT.AUXILIARY,
  DT.FILTER,
  DT.CONFIG,
  DT.DEPAUDIT,
  DT.AUDIT,
]);

/** Bits of DT_FLAGS. */
export const DF = { ORIGIN: 1, SYMBOLIC: 2, TEXTREL: 4, BIND_NOW: 8, STATIC_TLS: 16 } as const;

/** Bits of DT_FLAGS_1. */
export const DF_1 = {
  NOW: 0x1,
  GLOBAL: 0x2,
  GROUP: 0x4,
  NODELETE: 0x8,
  LOADFLTR: 0x10,
  INITFIRST: 0x20,
  NOOPEN: 0x40,
  ORIGIN: 0x80,
  DIRECT: 0x100,
  TRANS: 0x200,
  INTERPOSE: 0x400,
  NODEFLIB: 0x800,
  NODUMP: 0x1000,
  CONFALT: 0x2000,
  ENDFILTEE: 0x4000,
  DISPRELDNE: 0x8000,
  DISPRELPND: 0x10000,
  NODIRECT: 0x20000,
  IGNMULDEF: 0x40000,
  NOKSYMS: 0x80000,
  NOHDR: 0x100000,
  EDITED: 0x200000,
  NORELOC: 0x400000,
  SYMINTPOSE: 0x800000,
  GLOBAUDIT: 0x1000000,
  SINGLETON: 0x2000000,
  STUB: 0x4000000,
  PIE: 0x8000000,
} as const;

/** Flags of a needed or defined version: vna_flags and vd_flags. */
export const VER_FLG = { BASE: 1, WEAK: 2 } as const;
/** Version indices that name no version; bit 15 hides a symbol. */
export const VER_NDX = { LOCAL: 0, GLOBAL: 1, HIDDEN: 0x8000 } as const;

/** The name of `value` in one of the tables above; undefined for a value it has not. */
export function nameOf(table: Readonly<Record<string, number | bigint>>, value: number | bigint): string | undefined {
  return Object.keys(table).find((name) => table[name] === value);
}
