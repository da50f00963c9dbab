/**
 * The loaded objects of a process in the order of the search for symbols (glibc's _dl_map_object_deps): needs at the
 * end, filters and auxiliary objects in front of their owner, which makes them the next ones to be asked for their needs.
 */
export interface LoadOrder<T> {
  /** Grows while it is read. */
  readonly objects: readonly T[];
  /** Puts an object at the end or before another one; one that stands farther in front already stays there. */
  place(object: T | undefined, before?: T): void;
  /** The first object that was not given out by this method yet. */
  next(): T | undefined;
}

/** An order that begins with the program. */
export function openLoadOrder<T>(program: T): LoadOrder<T> {
  const objects: T[] = [program];
  const asked = new Set<T>();
  return {
    objects,
    place(object, before) {
      if (object === undefined) return;
      const from = objects.indexOf(object);
      if (from >= 0 && (before === undefined || from < objects.indexOf(before))) return;
      if (from >= 0) objects.splice(from, 1);
      objects.splice(before === undefined ? objects.length : objects.indexOf(before), 0, object);
    },
    next() {
      const object = objects.find((one) => !asked.has(one));
      if (object !== undefined) asked.add(object);
      return object;
    },
  };
}
