import { baseName } from "../core/paths.ts";
import type { LoaderPolicy } from "./policy.ts";
import type { Asker } from "./world.ts";

/**
 * The names under which a process knows its objects: a request for one of them is answered without a search. The
 * first object that has a name keeps it, because nobody asks a second time.
 */
export class LoadedNames<Loaded extends Asker> {
  readonly #rules: LoaderPolicy["loaded"];
  readonly #loader: Loaded;
  readonly #byName = new Map<string, Loaded>();
  readonly #named = new Set<Loaded>();

  constructor(policy: LoaderPolicy, loader: Loaded) {
    this.#rules = policy.loaded;
    this.#loader = loader;
  }

  find(name: string): Loaded | undefined {
    return this.#rules.reserved?.test(name) ? this.#loader : this.#byName.get(name);
  }

  add(name: string, object: Loaded): void {
    if (!this.#byName.has(name)) this.#byName.set(name, object);
  }

  addSoname(object: Loaded): void {
    if (this.#rules.soname && object.elf.soname !== undefined) this.add(object.elf.soname, object);
  }

  /** After `name` was asked for and a file was opened, that of `object`. */
  addRequest(name: string, object: Loaded): void {
    if (this.#rules.requests) {
      this.add(name, object);
      this.add(object.openedAs, object);
    } else if (!name.includes("/") && !this.#named.has(object)) {
      // musl's shortname: the file name of the path that it was opened by first; the program never has one.
      this.#named.add(object);
      this.add(baseName(object.openedAs), object);
    }
  }
}
