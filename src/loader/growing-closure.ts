import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import type { RootNode } from "../oci/rootfs.ts";
import type { Closure, LoadedObject, MissingLibrary, Process, Reason } from "./closure.ts";

/** One meeting with an object: the same one may arrive again for another reason or by another path. */
export interface Arrival {
  readonly node: RootNode;
  readonly elf: ElfFile;
  readonly role: LoadedObject["role"];
  readonly foundAs?: RootPath;
  readonly reason?: Reason;
}

/** The closure while processes add to it: each real path once, each reason once. */
export class GrowingClosure {
  readonly #objects = new Map<RootPath, GrowingObject>();
  readonly #first = new Map<string, RootNode>();
  readonly #missing = new Map<string, MissingLibrary>();
  readonly #warnings = new Set<string>();
  readonly #processes: Process[] = [];

  add(arrival: Arrival): void {
    const { node, elf, role } = arrival;
    let object = this.#objects.get(node.path);
    if (object === undefined) {
      object = { node, elf, role, foundAs: new Set(), reasons: new Map() };
      this.#objects.set(node.path, object);
      if (!this.#first.has(node.identity)) this.#first.set(node.identity, node);
    }
    // A library that is also started by itself is a program; the loader stays one though libc.so.6 needs it.
    if (role === "program" || (role === "interpreter" && object.role === "library")) object.role = role;
    if (arrival.foundAs !== undefined) object.foundAs.add(arrival.foundAs);
    if (arrival.reason !== undefined) {
      const { neededBy, name } = arrival.reason;
      const key = `${neededBy}\0${name}`;
      if (!object.reasons.has(key)) object.reasons.set(key, arrival.reason);
    }
  }

  /**
   * The node that stands for a library: of several hard links the one that came first, for one file is loaded once.
   * (Programs are told apart by their paths: each is started by itself, and has an `$ORIGIN` of its own.)
   */
  libraryNode(node: RootNode): RootNode {
    return this.#objects.has(node.path) ? node : (this.#first.get(node.identity) ?? node);
  }

  miss(missing: MissingLibrary): void {
    const key = `${missing.neededBy}\0${missing.name}`;
    if (!this.#missing.has(key)) this.#missing.set(key, missing);
  }

  warn(warning: string): void {
    this.#warnings.add(warning);
  }

  addProcess(process: Process): void {
    this.#processes.push(process);
  }

  finish(): Closure {
    return {
      objects: [...this.#objects.values()].map((object) => ({
        node: object.node,
        elf: object.elf,
        role: object.role,
        foundAs: object.foundAs.size === 0 ? [object.node.path] : [...object.foundAs],
        reasons: [...object.reasons.values()],
      })),
      missing: [...this.#missing.values()],
      warnings: [...this.#warnings],
      processes: this.#processes,
    };
  }
}

interface GrowingObject {
  readonly node: RootNode;
  readonly elf: ElfFile;
  role: LoadedObject["role"];
  readonly foundAs: Set<RootPath>;
  readonly reasons: Map<string, Reason>;
}
