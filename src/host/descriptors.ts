import { readFileSync, readdirSync } from "node:fs";

/**
 * The descriptors beyond standard error that the caller has left open (`flixwrap … 20</etc/shadow`) and every child gets,
 * too: those without O_CLOEXEC (proc_pid_fdinfo(5)). Node opens its own with it, and sets it for the first sixteen at its
 * start. Here they stay open: words of the command line may name them (`/dev/fd/63`).
 */
export function inheritedDescriptors(): readonly number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number).filter(isInherited);
  } catch {
    // No /proc: nothing to tell them by.
    return [];
  }
}

const O_CLOEXEC = 0o2000000;

function isInherited(descriptor: number): boolean {
  if (descriptor <= 3) return false;
  try {
    const [, flags] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))!;
    return (Number.parseInt(flags!, 8) & O_CLOEXEC) === 0;
  } catch {
    // Closed meanwhile: the listing's own.
    return false;
  }
}
