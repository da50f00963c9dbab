/** What we use of elfy 1.0.0, which has no types of its own. */
declare module "elfy" {
  interface Program {
    readonly offset: number;
    readonly vaddr: number;
    readonly filesz: number;
    readonly memsz: number;
  }
  const elfy: { parse(bytes: Buffer): { readonly body: { readonly programs: readonly Program[] } } };
  export default elfy;
}
