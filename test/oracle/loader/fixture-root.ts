import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseList } from "./listing.ts";
import { type Runtime, type RuntimeName, runtimes } from "./runtimes.ts";

/** One node of a fixture's root: an object to link, a link, text, or a change to the bytes of an object. */
export type FixtureNode =
  | ObjectSpec
  | { readonly link: string }
  | { readonly hardlink: string }
  | { readonly text: string }
  | { readonly folder: true };

export interface ObjectSpec {
  /** By default what stands in a `bin` folder. */
  readonly program?: boolean;
  /** DT_NEEDED, as it shall stand in the table. */
  readonly needs?: readonly (string | Need)[];
  /** Versions to define, each with one symbol. */
  readonly versions?: readonly string[];
  /** Linked with the C library, for objects that really run. */
  readonly libc?: true;
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  /** PT_INTERP of a program, when it is not the usual one. */
  readonly interpreter?: string;
  /** Further options for ld. */
  readonly ld?: readonly string[];
  /** C source; an object without any is empty. */
  readonly code?: string;
  /** Bytes to set afterwards: offset -> value. */
  readonly bytes?: Readonly<Record<number, number>>;
  readonly edit?: (bytes: Buffer) => void;
}

/** What the library looked like when the object was linked against it. */
export interface Need {
  readonly name: string;
  /** One symbol of each is asked for. */
  readonly versions?: readonly string[];
  readonly code?: string;
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export interface Listing {
  readonly lines: string[];
  readonly stderr: string;
}

export interface ListOptions {
  /** For the loader, before `--list`. */
  readonly options?: readonly string[];
  /** The loader to run, by another path than the usual one. */
  readonly interpreter?: string;
}

/** Builds fixture roots below one temporary folder and runs loaders inside them. */
export class FixtureRoots {
  readonly #work = mkdtempSync(join(tmpdir(), "flixwrap-loader-"));
  readonly #runtime: Runtime;
  readonly #enter: string;
  #count = 0;

  constructor(name: RuntimeName) {
    this.#runtime = runtimes[name];
    this.#enter = this.#compileEnter();
  }

  remove(): void {
    rmSync(this.#work, { recursive: true });
  }

  /** The folder of a new root with `nodes`, the loader and its C library. */
  build(nodes: Readonly<Record<string, FixtureNode>>): string {
    const root = join(this.#work, `root-${this.#count++}`);
    mkdirSync(join(root, "proc"), { recursive: true });
    this.buildInto(root, nodes);
    return root;
  }

  /** Adds nodes to a root, and the loader with its C library. */
  buildInto(root: string, nodes: Readonly<Record<string, FixtureNode>>): void {
    for (const [path, file] of Object.entries(this.#runtime.files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      copyFileSync(file, join(root, path));
    }
    for (const [path, node] of Object.entries(nodes)) {
      const at = join(root, path);
      mkdirSync(dirname(at), { recursive: true });
      if ("link" in node) symlinkSync(node.link, at);
      else if ("hardlink" in node) linkSync(join(root, node.hardlink), at);
      else if ("text" in node) writeFileSync(at, node.text);
      else if ("folder" in node) mkdirSync(at);
      else this.#linkObject(at, node);
    }
  }

  /** Copies a (static) program of this machine into a root, at the same path. */
  copyIn(root: string, path: string): void {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }

  /** Runs a command inside a root, chroot(2)-ed. */
  run(root: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Output {
    const { stdout, stderr } = spawnSync(this.#enter, [root, ...command], { encoding: "utf8", env });
    return { stdout, stderr };
  }

  /** What the loader says when it has to bind every symbol before the program starts. */
  bind(root: string, program: string): Output {
    return this.run(root, [program], { LD_TRACE_LOADED_OBJECTS: "1", LD_WARN: "1", LD_BIND_NOW: "1" });
  }

  /** What the live loader says it would map for `program`: `NAME => PATH` lines in its order, loader excluded. */
  list(root: string, program: string, { options = [], interpreter }: ListOptions = {}): Listing {
    const { emulator, interpreter: usual, traces } = this.#runtime;
    if (emulator !== undefined) this.copyIn(root, emulator);
    const traced = traces && options.length === 0 && interpreter === undefined;
    const command = traced
      ? [...(emulator === undefined ? [] : [emulator, "-E", "LD_TRACE_LOADED_OBJECTS=1"]), program]
      : [interpreter ?? usual, ...options, "--list", program];
    const env = traced && emulator === undefined ? { LD_TRACE_LOADED_OBJECTS: "1" } : {};
    const { stdout, stderr } = this.run(root, command, env);
    const failed = [...stderr.matchAll(/^Error loading shared library (\S+): .* \(needed by/gm)];
    return { lines: [...parseList(stdout, root), ...failed.map(([, name]) => `${name} => not found`)], stderr };
  }

  #linkObject(at: string, spec: ObjectSpec): void {
    const isProgram = spec.program ?? /\/bin\/[^/]+$/.test(at);
    const needs = (spec.needs ?? []).map((need) => (typeof need === "string" ? { name: need } : need));
    const stubs = needs.map(({ name, versions = [], code = defining(versions) }, index) => {
      const stub = join(
        this.#work,
        `stub-${index}-${createHash("sha1")
          .update(JSON.stringify([name, versions, code]))
          .digest("hex")}.so`,
      );
      if (existsSync(stub)) return stub;
      const script = this.#versionScript(versions);
      this.#gcc(["-nostdlib", "-shared", `-Wl,-soname,${name}`, ...script, "-o", stub], code);
      return stub;
    });
    const runPath = spec.runpath ?? spec.rpath;
    const options = [
      ...(isProgram
        ? [
            spec.ld?.includes("-no-pie") ? "-no-pie" : "-pie",
            `-Wl,--dynamic-linker=${spec.interpreter ?? this.#runtime.interpreter}`,
          ]
        : ["-shared"]),
      ...(spec.soname === undefined ? [] : [`-Wl,-soname,${spec.soname}`]),
      ...(runPath === undefined ? [] : [`-Wl,-rpath,${runPath}`]),
      spec.runpath === undefined ? "-Wl,--disable-new-dtags" : "-Wl,--enable-new-dtags",
      ...(spec.ld ?? []).filter((option) => option !== "-no-pie").map((option) => `-Wl,${option}`),
      "-Wl,--no-as-needed",
    ];
    const code = spec.code ?? defining(spec.versions ?? []) + using(needs.flatMap(({ versions = [] }) => versions));
    const start = isProgram && spec.libc === undefined ? "void _start(void) {}\n" : "";
    const library = spec.libc === undefined ? ["-nostdlib"] : [];
    this.#gcc([...options, ...library, ...this.#versionScript(spec.versions ?? []), "-o", at], start + code, stubs);
    if (spec.bytes === undefined && spec.edit === undefined) return;
    const bytes = readFileSync(at);
    for (const [offset, value] of Object.entries(spec.bytes ?? {})) bytes[Number(offset)] = value;
    spec.edit?.(bytes);
    writeFileSync(at, bytes);
  }

  #gcc(options: readonly string[], code: string, libraries: readonly string[] = []): void {
    execFileSync(this.#runtime.compiler, ["-fPIC", "-x", "c", "-", ...options, "-x", "none", ...libraries], {
      input: code,
    });
  }

  #versionScript(versions: readonly string[]): string[] {
    if (versions.length === 0) return [];
    const script = join(this.#work, `${versions.join("-")}.map`);
    writeFileSync(script, versions.map((version) => `${version} { global: at_${version}; };\n`).join(""));
    return [`-Wl,--version-script=${script}`];
  }

  #compileEnter(): string {
    const program = join(this.#work, "enter");
    execFileSync("gcc", ["-static", "-x", "c", "-", "-o", program], { input: enterSource });
    return program;
  }
}

const defining = (versions: readonly string[]): string =>
  versions.map((version) => `void at_${version}(void) {}\n`).join("");
const using = (versions: readonly string[]): string =>
  versions.map((version) => `void at_${version}(void); void *use_${version} = at_${version};\n`).join("");

/** Static, because LD_TRACE_LOADED_OBJECTS is not meant for it. Without root, mount(2) and chroot(2) are allowed inside namespaces of one's own. glibc takes $ORIGIN from /proc. */
const enterSource = `
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char proc[4096];
  snprintf(proc, sizeof proc, "%s/proc", argv[1]);
  if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) { perror("unshare"); return 125; }
  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
  if (mount("/proc", proc, NULL, MS_BIND | MS_REC, NULL) != 0) { perror(proc); return 125; }
  if (chroot(argv[1]) != 0 || chdir("/") != 0) { perror(argv[1]); return 125; }
  execv(argv[2], argv + 2);
  perror(argv[2]);
  return 126;
}`;
