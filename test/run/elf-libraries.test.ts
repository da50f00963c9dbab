import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { DF, DF_1, findDynamicSymbol, findString, planEdits, readElf } from "../../src/elf/index.ts";
import { applyPatch } from "../unit/elf/patched.ts";
import { lint, openWorkshop, run, type Workshop } from "./elf-workshop.ts";

/** Names, versions, symbols and loaders: what libraries have beyond a run path. */
let workshop: Workshop;
beforeAll(() => {
  workshop = openWorkshop();
  workshop.compile("gcc", "-o", "program", "main.c", "-Llib", "-lanswer", `-Wl,-rpath,${workshop.path("lib")}`);
});
afterAll(() => workshop.close());

/** Puts the edited file in the original's place, as `name`. */
function install(name: string, edits: Parameters<Workshop["edit"]>[1], as = name) {
  const edited = workshop.edit(name, edits);
  renameSync(edited.path, workshop.path(as));
  return edited;
}

describe("needed libraries", () => {
  it("are renamed together with their version requirements", () => {
    copyFileSync(workshop.path("lib/libanswer.so"), workshop.path("lib/libother-answer.so.7"));
    const { path } = workshop.edit("program", {
      needed: { replace: new Map([["libanswer.so", "libother-answer.so.7"]]) },
    });
    renameSync(workshop.path("lib/libanswer.so"), workshop.path("lib/libanswer.so.away"));
    try {
      expect(() => run(workshop.path("program"))).toThrow("libanswer.so");
      expect(run(path)).toBe("42\n");
    } finally {
      renameSync(workshop.path("lib/libanswer.so.away"), workshop.path("lib/libanswer.so"));
    }
    const text = run("readelf", "-dVW", path);
    expect(text).toContain("Shared library: [libother-answer.so.7]");
    expect(text).toContain("File: libother-answer.so.7");
    expect(text).not.toContain("[libanswer.so]");
    expect(lint(path)).toEqual(lint(workshop.path("program")));
  });

  it("are removed together with their version requirements, on which the loader insists", () => {
    const { path } = workshop.edit("program", { needed: { remove: ["libanswer.so"] } });
    const text = run("readelf", "-dVW", path);
    expect(text).not.toContain("libanswer.so");
    // The symbol is found wherever it is, whatever its version.
    const env = { ...process.env, LD_PRELOAD: workshop.path("lib/libanswer.so") };
    expect(spawnSync(path, { env, encoding: "utf8" }).stdout).toBe("42\n");
    expect(lint(path).filter((line) => !lint(workshop.path("program")).includes(line))).toEqual([]);
  });

  it("are all removed", () => {
    const { path } = workshop.edit("program", { needed: { remove: ["libanswer.so", "libc.so.6"] } });
    const text = run("readelf", "-dVW", path);
    expect(text).not.toContain("NEEDED");
    expect(text).toMatch(/'\.gnu\.version_r' contains 0 entries/);
    const env = { ...process.env, LD_PRELOAD: `${workshop.path("lib/libanswer.so")} libc.so.6` };
    expect(spawnSync(path, { env, encoding: "utf8" })).toMatchObject({ stdout: "42\n", status: 0 });
  });

  it("are added before the others, once", () => {
    const edits = { needed: { add: ["libm.so.6", "libc.so.6"] } };
    const { path, after } = workshop.edit("program", edits);
    expect(readElf(memorySource(after), path).needed).toEqual(["libm.so.6", "libanswer.so", "libc.so.6"]);
    expect(run(path)).toBe("42\n");
    expect(planEdits(readElf(memorySource(after), path), edits).writes).toEqual([]);
  });

  it("fill no more slots than there are", () => {
    const add = Array.from({ length: 200 }, (_, index) => `lib${index}.so`);
    expect(() => workshop.edit("program", { needed: { add } })).toThrow(/no room for another entry.*at most \d+/);
  });
});

describe("a library", () => {
  it("gets another name", () => {
    install("lib/libanswer.so", { soname: "libanswer-with-a-longer-name.so.3" }, "lib/libnamed.so");
    workshop.compile("gcc", "-o", "named", "main.c", "lib/libnamed.so", `-Wl,-rpath,${workshop.path("lib")}`);
    expect(run("readelf", "-d", workshop.path("named"))).toContain("[libanswer-with-a-longer-name.so.3]");
    copyFileSync(workshop.path("lib/libnamed.so"), workshop.path("lib/libanswer-with-a-longer-name.so.3"));
    expect(run(workshop.path("named"))).toBe("42\n");
    const { path } = workshop.edit("lib/libnamed.so", { soname: null });
    expect(run("readelf", "-d", path)).not.toContain("SONAME");
  });

  it("keeps a string that something else shares", () => {
    // DT_SONAME `answer.so` is the end of no symbol, but `answer` is one: the run path shares it.
    workshop.compile(
      "gcc",
      "-shared",
      "-fPIC",
      "-Wl,-soname,libshared.so",
      "-Wl,-rpath,answer",
      "-o",
      "lib/libshared.so",
      "answer.c",
    );
    const { path, patch } = workshop.edit("lib/libshared.so", { runPath: { kind: "runpath", value: "/x" } });
    expect(patch.changes).toEqual(["runpath answer -> runpath /x"]);
    expect(run("nm", "-D", path)).toContain("T answer");
    expect(run("readelf", "-d", path)).toContain("Library runpath: [/x]");
  });

  it("has symbols renamed, found by either hash table and by relocations", () => {
    for (const style of ["gnu", "sysv", "both"]) {
      const names = Array.from({ length: 300 }, (_, index) => `symbol_${index}`);
      writeFileSync(
        workshop.path("many.c"),
        names.map((name, index) => `int ${name}(void) { return ${index}; }\n`).join(""),
      );
      writeFileSync(
        workshop.path("use.c"),
        `#include <stdio.h>\n${names.map((name) => `int ${name}(void);`).join("\n")}\nint main(void) { int sum = 0; ${names.map((name) => `sum += ${name}();`).join(" ")} printf("%d\\n", sum); return 0; }\n`,
      );
      workshop.compile("gcc", "-shared", "-fPIC", `-Wl,--hash-style=${style}`, "-o", "lib/libmany.so", "many.c");
      workshop.compile(
        "gcc",
        `-Wl,--hash-style=${style}`,
        "-o",
        "use",
        "use.c",
        "-Llib",
        "-lmany",
        `-Wl,-rpath,${workshop.path("lib")}`,
      );
      const renameSymbols = new Map(
        names.filter((_, index) => index % 3 === 0).map((name) => [name, `${name}_renamed_${style}`]),
      );
      const { after } = install("lib/libmany.so", { renameSymbols });
      expect(spawnSync(workshop.path("use"), { env: { ...process.env, LD_BIND_NOW: "1" } }).status).not.toBe(0);
      install("use", { renameSymbols });
      expect(run(workshop.path("use"))).toBe(`${(299 * 300) / 2}\n`);
      const elf = readElf(memorySource(after), "libmany.so");
      expect(findDynamicSymbol(elf, `symbol_3_renamed_${style}`)).toMatchObject({ defined: true, type: 2 });
      expect(findDynamicSymbol(elf, "symbol_4")).toMatchObject({ defined: true });
      expect(findDynamicSymbol(elf, "symbol_3")).toBeUndefined();
    }
  });

  it("loses a symbol's version", () => {
    const { path } = workshop.edit("program", { clearSymbolVersions: ["answer"] });
    expect(run("readelf", "--dyn-syms", "-W", path)).toMatch(/ answer$/m);
    expect(run(path)).toBe("42\n");
  });
});

describe("flags", () => {
  it.each<[string, Parameters<Workshop["edit"]>[1], RegExp]>([
    ["of DT_FLAGS", { flags: { set: DF.BIND_NOW } }, /\(FLAGS\)\s+BIND_NOW/],
    ["of DT_FLAGS_1", { flags1: { set: DF_1.NOW | DF_1.NODELETE } }, /\(FLAGS_1\)\s+Flags: NOW NODELETE PIE/],
    ["DT_DEBUG is there already", { debugTag: true }, /\(DEBUG\)/],
    ["OS ABI", { osAbi: 3 }, /OS\/ABI:\s+UNIX - GNU/],
    ["executable stack", { executableStack: true }, /GNU_STACK.*RWE/],
  ])("%s", (_, edits, wanted) => {
    const { path } = workshop.edit("program", edits);
    expect(run("readelf", "-hldW", path)).toMatch(wanted);
    expect(run(path)).toBe("42\n");
  });

  it("are set and cleared in place", () => {
    const set = workshop.edit("program", { executableStack: true, flags: { set: DF.ORIGIN } }, { suffix: ".set" });
    const cleared = workshop.edit("program.set", { executableStack: false, flags: { clear: DF.ORIGIN } });
    expect(Buffer.compare(cleared.after, set.before)).toBe(0);
  });
});

describe("a loader and a C library", () => {
  const glibc = realpathSync("/lib64/ld-linux-x86-64.so.2");
  const edit = (path: string, edits: Parameters<typeof planEdits>[1]) => {
    const bytes = readFileSync(path);
    const name = path.replaceAll("/", "_");
    writeFileSync(workshop.path(name), applyPatch(bytes, planEdits(readElf(memorySource(bytes), path), edits)), {
      mode: 0o755,
    });
    return workshop.path(name);
  };

  it("are edited where they can take it, and refused where they would not start: patchelf kills them", () => {
    expect(() => edit(glibc, { runPath: { kind: "runpath", value: "/x" } })).toThrow(
      "a loader does not start with a run path",
    );
    expect(() => edit(glibc, { noDefaultLib: true })).toThrow("a loader does not start with DT_FLAGS_1");
    expect(run(edit(glibc, { soname: "ld-private.so.2" }), "--version")).toContain("ld.so");
    const libc = edit(realpathSync("/lib/x86_64-linux-gnu/libc.so.6"), {
      runPath: { kind: "rpath", value: "/some/where" },
      interpreter: workshop.loader,
      noDefaultLib: true,
    });
    expect(run(libc)).toContain("GNU C Library");
    const musl = edit(realpathSync("/lib/ld-musl-x86_64.so.1"), { runPath: { kind: "rpath", value: "/some/where" } });
    workshop.compile("musl-gcc", "-shared", "-fPIC", "-o", "lib/libmusl-answer.so", "answer.c");
    const library = workshop.path("lib/libmusl-answer.so");
    workshop.compile("musl-gcc", "-o", "musl", "main.c", library, `-Wl,-rpath,${workshop.path("lib")}`);
    expect(run(musl, workshop.path("musl"))).toBe("42\n");
  });

  it("tell their compiled-in names and where those stand", () => {
    const bytes = readFileSync(glibc);
    const elf = readElf(memorySource(bytes), glibc);
    const [cache, ...more] = findString(elf, "/etc/ld.so.cache");
    expect(more).toEqual([]);
    expect(bytes.toString("latin1", cache! - 1, cache! + 17)).toBe("\0/etc/ld.so.cache\0");
    expect(findString(elf, "/etc/ld.so.cach")).toEqual([]);
  });
});

describe("other programs", () => {
  const source = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n';
  beforeAll(() => writeFileSync(workshop.path("hello.c"), source));

  it("musl's run with another loader and run path", () => {
    copyFileSync(realpathSync("/lib/ld-musl-x86_64.so.1"), workshop.path("lib/ld-musl-with-a-long-name.so.1"));
    workshop.compile("musl-gcc", "-o", "musl-hello", "hello.c");
    const { path } = workshop.edit("musl-hello", {
      interpreter: workshop.path("lib/ld-musl-with-a-long-name.so.1"),
      runPath: { kind: "rpath", value: workshop.path("lib") },
      noDefaultLib: true,
    });
    expect(run(path)).toBe("hello\n");
    workshop.compile("strip", "-o", "musl-stripped", path);
    expect(run(workshop.path("musl-stripped"))).toBe("hello\n");
  });

  it.each([
    ["static", ["-static"]],
    ["static-pie", ["-static-pie"]],
  ])("%s ones have nothing to edit, and say so", (name, flags) => {
    workshop.compile("gcc", ...flags, "-o", name, "hello.c");
    expect(() => workshop.edit(name, { interpreter: "/lib/ld.so" })).toThrow("no interpreter to replace");
    const problem = name === "static" ? "no dynamic section" : "a static program does not start with a run path";
    expect(() => workshop.edit(name, { runPath: { kind: "rpath", value: "/x" } })).toThrow(problem);
  });

  it("those without section headers are edited by their program headers", () => {
    workshop.compile("gcc", "-s", "-o", "bare", "main.c", "-Llib", "-lanswer");
    const bytes = readFileSync(workshop.path("bare"));
    const elf = readElf(memorySource(bytes), "bare");
    const stripped = Buffer.from(bytes.subarray(0, Number(elf.header.shoff)));
    // e_shoff, e_shnum, e_shstrndx of Elf64_Ehdr.
    stripped.fill(0, 40, 48);
    stripped.fill(0, 60, 64);
    writeFileSync(workshop.path("bare"), stripped);
    const { path, after } = workshop.edit("bare", {
      interpreter: workshop.loader,
      runPath: { kind: "runpath", value: `${workshop.path("lib")}:/lib/x86_64-linux-gnu` },
    });
    expect(run(path)).toBe("42\n");
    const again = planEdits(readElf(memorySource(after), path), { runPath: { kind: "runpath", value: "/a/b/c" } });
    expect(again.size).toBe(after.length);
  });
});
