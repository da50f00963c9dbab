import { FlixwrapError } from "../core/errors.ts";
import { readIfThere, writeWhole } from "./cached-files.ts";

/** `NAME.lock`: everything a bake took from outside, so that it can be repeated to the byte. */
export interface Lock {
  readonly lock: 1;
  readonly recipe: string;
  readonly version: string;
  readonly options: Readonly<Record<string, string>>;
  /** Names that were looked up, such as another component's version. */
  readonly values: Readonly<Record<string, string>>;
  /** By systemd's architecture. */
  readonly architectures: Readonly<Record<string, readonly LockedSource[]>>;
}

/** One source as it was when the extension was baked. */
export interface LockedSource {
  /** A download's address, or an image's reference. */
  readonly source: string;
  /** Of a download; of an image's manifest. */
  readonly digest: string;
  /** In bytes; of downloads. */
  readonly size?: number;
  /** Of the files taken from an image in which a command ran. */
  readonly result?: string;
  /** Who vouched for it; absent: nobody. */
  readonly verifiedBy?: string;
}

const digestShape = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** @throws FlixwrapError `recipe-lock` */
export function readLock(path: string): Lock | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const bad = (got: string): FlixwrapError =>
    new FlixwrapError("recipe-lock", { what: "this is no lock file", where: path, got });
  let value: Lock;
  try {
    value = JSON.parse(text) as Lock;
  } catch (error) {
    throw bad((error as Error).message);
  }
  const maps = ["options", "values", "architectures"] as const;
  const sound =
    value?.lock === 1 &&
    ["recipe", "version"].every((key) => typeof value[key as "recipe"] === "string") &&
    maps.every((key) => typeof value[key] === "object" && value[key] !== null);
  const texts = sound && [...Object.values(value.options), ...Object.values(value.values)];
  if (
    !texts ||
    !texts.every((one) => typeof one === "string") ||
    !Object.values(value.architectures).every(Array.isArray)
  )
    throw bad("another format");
  const sources: readonly (LockedSource | null)[] = Object.values(value.architectures).flat();
  if (!sources.every((one) => typeof one?.source === "string" && digestShape.test(one.digest)))
    throw bad("a source without a digest");
  return value;
}

/** The lock that `--locked` rests on. @throws FlixwrapError `recipe-locked` when there is none */
export function requireLock(path: string): Lock {
  const lock = readLock(path);
  if (lock !== undefined) return lock;
  throw new FlixwrapError("recipe-locked", {
    what: "there is no lock",
    where: path,
    hint: "bake once without --locked",
  });
}

/**
 * A version's files never change: what was locked once must be what comes now, on another machine too. What a command
 * in an image makes may differ.
 * @throws FlixwrapError `recipe-upstream-changed`
 */
export function refuseChanges(before: Lock | undefined, now: Lock): void {
  if (before?.recipe !== now.recipe || before.version !== now.version) return;
  const known = new Map(
    Object.values(before.architectures).flatMap((rows) => rows.map((row) => [row.source, row.digest])),
  );
  const changed = Object.values(now.architectures)
    .flat()
    .filter((row) => row.source.includes("://") && known.has(row.source) && known.get(row.source) !== row.digest);
  if (changed.length === 0) return;
  throw new FlixwrapError("recipe-upstream-changed", {
    what: "upstream's files have changed under the same version since the lock was made",
    hint: "ask upstream why; if the change is right, delete the lock",
    items: changed.map((row) => `${row.source}: ${known.get(row.source)} before, ${row.digest} now`),
  });
}

/** Sources of other architectures stay when they belong to the same bake. */
export function mergeLocks(before: Lock | undefined, now: Lock): Lock {
  const same =
    before?.recipe === now.recipe &&
    before.version === now.version &&
    JSON.stringify(before.options) === JSON.stringify(now.options);
  return same ? { ...now, architectures: { ...before.architectures, ...now.architectures } } : now;
}

/** Writes a lock with its keys sorted, so that equal locks are equal files. */
export const writeLock = (path: string, lock: Lock): void => writeWhole(path, `${JSON.stringify(lock, sortKeys, 2)}\n`);

const sortKeys = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
