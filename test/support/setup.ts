/** Says once what a run leaves out, before it begins. */
export function setup(): void {
  if (process.getuid?.() !== 0) console.warn("not root: suites that change users or mount file systems are skipped");
}
