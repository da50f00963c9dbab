import type { ByteSource } from "../core/bytes.ts";

/**
 * An ELF file as its loader sees it: by program headers and PT_DYNAMIC, never by section headers.
 * (Contract for the first slice; the reader fills it.)
 */
export interface ElfFile {
  readonly source: ByteSource;
  /** For messages. */
  readonly name: string;
  readonly bits: 32 | 64;
  readonly endian: "little" | "big";
  /** e_machine. */
  readonly machine: number;
  /** e_type: 2 ET_EXEC, 3 ET_DYN. */
  readonly type: number;
  /** PT_INTERP, without its NUL. */
  readonly interpreter?: string;
  /** False for static files and for a PT_DYNAMIC without bytes (debug files). */
  readonly isDynamic: boolean;
  readonly needed: readonly string[];
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  /** DT_AUXILIARY and DT_FILTER, in table order. */
  readonly auxiliary: readonly string[];
  readonly filters: readonly string[];
  /** DT_FLAGS_1 has DF_1_NODEFLIB. */
  readonly noDefaultLib: boolean;
}
