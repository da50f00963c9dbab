import { interrupted } from "./errors.ts";

/** What a run is given by its caller and no library code may fetch from `process` itself. */
export interface Context {
  /** Aborted on Ctrl-C; long work ends with an `interrupted` error. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Progress and warnings; `src/cli/report` turns them into bars, lines or JSON lines. */
  emit(event: ProgressEvent): void;
  /** What the image reference `-` reads; asked for at most once. */
  stdin?(): AsyncIterable<Uint8Array>;
}

/** One thing that a run tells while it works. */
export type ProgressEvent =
  /** One of the eight steps has begun, or something worth a line has happened in it. */
  | { readonly kind: "step"; readonly step: string; readonly detail: string }
  /** `done` of `total` bytes (total unknown: undefined) of one named piece of work, e.g. a layer's download. */
  | { readonly kind: "progress"; readonly what: string; readonly done: number; readonly total?: number }
  /** Something the user should know that is no error. */
  | { readonly kind: "notice" | "warning"; readonly message: string };

/** A context for library callers and tests: never aborted, silent, empty environment. */
export function quietContext(overrides: Partial<Context> = {}): Context {
  return { signal: new AbortController().signal, env: {}, emit: () => undefined, ...overrides };
}

/**
 * Between two pieces of long work that never waits: only now does a signal that came meanwhile reach this process.
 * @throws FlixwrapError `interrupted`.
 */
export async function takeBreath({ signal }: Context): Promise<void> {
  await new Promise((resolve) => void setImmediate(resolve));
  if (signal.aborted) throw interrupted();
}

/** PATH for children, or `usual`: its absolute folders alone, since some children start inside of an image's folder. */
export function searchPath(env: Context["env"], usual: string): string {
  const folders = (env["PATH"] ?? usual).split(":").filter((folder) => folder.startsWith("/"));
  return folders.length === 0 ? usual : folders.join(":");
}
