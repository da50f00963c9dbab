import { spawnSync } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { planEdits, readElf, type ElfEdits } from "../../src/elf/index.ts";
import { lint, openWorkshop, run, type Edited, type Workshop } from "./elf-workshop.ts";

/** Programs that we edited do what they did before; loaders, strippers and linters judge. */
let workshop: Workshop;
beforeAll(() => void (workshop = openWorkshop()));
afterAll(() => workshop.close());

const programs = ["bfd", "gold", "lld", "mold"].flatMap((linker) =>
  [
    { kind: "pie", flags: ["-pie", "-fPIE"] },
    { kind: "no-pie", flags: ["-no-pie", "-fno-pie"] },
  ].map(({ kind, flags }) => ({ name: `${linker}-${kind}`, linker, flags: [...flags, `-fuse-ld=${linker}`] })),
);

describe.each(programs)("a program: $name", ({ name, linker, flags }) => {
  let edited: Edited;
  const edits = (): ElfEdits => ({
    interpreter: workshop.loader,
    runPath: { kind: "rpath", value: `/nowhere:${workshop.path("lib")}:/lib/x86_64-linux-gnu` },
    noDefaultLib: true,
  });

  beforeAll(() => {
    workshop.compile("gcc", ...flags, "-o", name, "main.c", "-Llib", "-lanswer");
    edited = workshop.edit(name, edits());
  });

  it("did not run before and runs now", () => {
    expect(() => run(workshop.path(name))).toThrow("libanswer.so");
    expect(run(edited.path)).toBe("42\n");
    const text = run("readelf", "-ldW", edited.path);
    expect(text).toContain(`interpreter: ${workshop.loader}]`);
    expect(text).toContain("NODEFLIB");
  });

  it("takes the cheapest rung of the ladder", () => {
    const growth = edited.after.length - edited.before.length;
    if (linker === "bfd" || linker === "gold") {
      expect(edited.patch.growth).toBe("slack");
      expect(growth).toBe(0);
    } else {
      // The whole string table moves, and the record of the edit with it.
      const strings = Number(readElf(memorySource(edited.before), name).dynamic.find(({ tag }) => tag === 10)?.value);
      expect(edited.patch.growth).toBe("note");
      expect(growth).toBeLessThanOrEqual(strings + 512);
    }
  });

  it("still runs after strip and llvm-strip", () => {
    for (const tool of ["strip", "llvm-strip"]) {
      const { status, stderr } = spawnSync(tool, ["-o", `${edited.path}.${tool}`, edited.path], { encoding: "utf8" });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(run(`${edited.path}.${tool}`)).toBe("42\n");
    }
  });

  it("gives its debugging information away, and gdb finds all sections mapped", () => {
    const debug = `${edited.path}.debug`;
    run("objcopy", "--only-keep-debug", edited.path, debug);
    run("objcopy", `--add-gnu-debuglink=${debug}`, edited.path, `${edited.path}.linked`);
    expect(run(`${edited.path}.linked`)).toBe("42\n");
    const { stdout, stderr } = spawnSync("gdb", ["-batch", "-nx", "-ex", "info files", edited.path], {
      encoding: "utf8",
    });
    expect(stdout).toContain(".dynstr");
    expect(`${stdout}${stderr}`).not.toContain("outside of ELF segments");
  });

  it("runs where AT_PHDR is computed from the first PT_LOAD, as before Linux 5.18", () => {
    expect(run("qemu-x86_64-static", edited.path)).toBe("42\n");
  });

  it("shows linter and readelf nothing new", () => {
    const before = lint(workshop.path(name));
    expect(lint(edited.path).filter((line) => !before.includes(line))).toEqual([]);
    const complaints = (path: string) =>
      spawnSync("readelf", ["-aW", path], { encoding: "utf8" }).stderr.replaceAll(path, "");
    expect(complaints(edited.path)).toBe(complaints(workshop.path(name)));
  });

  it("keeps everything that must not move", () => {
    const [before, after] = [edited.before, edited.after].map((bytes) => readElf(memorySource(bytes), name));
    const kept = [2, 7, 0x6474e550, 0x6474e551, 0x6474e552];
    const those = (elf = before!) => elf.segments.filter(({ type }) => kept.includes(type));
    expect(those(after)).toEqual(those(before));
    const tags = [4, 6, 12, 13, 25, 26, 0x6ffffef5];
    const values = (elf = before!) => elf.dynamic.filter(({ tag }) => tags.includes(tag));
    expect(values(after)).toEqual(values(before));
    const loads = after!.segments.filter(({ type }) => type === 1);
    expect(loads.map(({ vaddr }) => vaddr)).toEqual(loads.map(({ vaddr }) => vaddr).sort((a, b) => (a < b ? -1 : 1)));
    const table = after!.segments.find(({ type }) => type === 6);
    expect(after!.header.phoff + loads[0]!.vaddr - loads[0]!.offset).toBe(table?.vaddr);
  });

  it("is edited once and for all", () => {
    const again = planEdits(readElf(memorySource(edited.after), name), edits());
    expect(again).toMatchObject({ writes: [], changes: [], size: edited.after.length });
  });

  it("is what it was when the old values are restored", () => {
    const old = readElf(memorySource(edited.before), name);
    const restored = workshop.edit(`${name}.edited`, {
      interpreter: old.interpreter!,
      runPath: null,
      noDefaultLib: false,
    });
    const now = readElf(memorySource(restored.after), name);
    expect(now.segments).toEqual(old.segments);
    expect(restored.after.length).toBe(edited.before.length);
    // lld leaves no spare slots: DT_RELACOUNT, a hint, had to go.
    if (linker !== "lld") expect(Buffer.compare(restored.after, edited.before)).toBe(0);
    expect(run("/lib64/ld-linux-x86-64.so.2", "--library-path", workshop.path("lib"), restored.path)).toBe("42\n");
  });

  it("does not grow with every edit", () => {
    const sizes = new Set<number>();
    let bytes = edited.after;
    for (let index = 0; index < 200; index++) {
      const value = index % 2 === 0 ? "/a" : `/${"long/".repeat(30)}`;
      const patch = planEdits(readElf(memorySource(bytes), name), {
        runPath: { kind: "rpath", value },
        interpreter: index % 2 === 0 ? "/l" : workshop.loader,
      });
      const next = new Uint8Array(patch.size);
      next.set(bytes.subarray(0, patch.size));
      for (const write of patch.writes) next.set(write.bytes, write.offset);
      bytes = next;
      sizes.add(bytes.length);
    }
    expect(sizes.size).toBeLessThanOrEqual(2);
    const loads = (file: Uint8Array) =>
      readElf(memorySource(file), name).segments.filter(({ type }) => type === 1).length;
    expect(loads(bytes)).toBeLessThanOrEqual(loads(edited.before) + 1);
  });

  it("keeps a payload at its end, or says why it is not edited", () => {
    const payload = Buffer.alloc(65_536, "payload ");
    writeFileSync(workshop.path(`${name}.bundle`), readFileSync(workshop.path(name)), { mode: 0o755 });
    appendFileSync(workshop.path(`${name}.bundle`), payload);
    if (edited.patch.growth === "slack") {
      const bundle = workshop.edit(`${name}.bundle`, edits());
      expect(Buffer.compare(bundle.after.subarray(-payload.length), payload)).toBe(0);
      expect(run(bundle.path)).toBe("42\n");
    } else {
      expect(() => workshop.edit(`${name}.bundle`, edits())).toThrow(/other data follows the ELF file.*65536 bytes/);
    }
    const moved = workshop.edit(`${name}.bundle`, edits(), { suffix: ".moved", limits: { payload: "move" } });
    expect(Buffer.compare(moved.after.subarray(-payload.length), payload)).toBe(0);
    expect(run(moved.path)).toBe("42\n");
    expect(lint(moved.path).length).toBeLessThanOrEqual(lint(workshop.path(name)).length);
  });
});

describe("a file without any note and without room", () => {
  it.each(["lld", "mold"])("a library of %s is refused, because strip would break it; it works when told", (linker) => {
    const name = `bare-${linker}.so`;
    const flags = [
      "-shared",
      "-fPIC",
      "-nostartfiles",
      `-fuse-ld=${linker}`,
      "-Wl,--build-id=none",
      "-Wl,-soname,libanswer.so",
    ];
    workshop.compile("gcc", ...flags, "-Wl,--version-script=answer.map", "-o", name, "answer.c");
    // No header is left to take: as in files of compilers that write no property note.
    const bytes = readFileSync(workshop.path(name));
    const { segments, header } = readElf(memorySource(bytes), name);
    segments.forEach(({ type }, index) => {
      if (type === 4) bytes.writeUInt32LE(0x6474e553, Number(header.phoff) + index * 56);
    });
    writeFileSync(workshop.path(name), bytes);
    const edits: ElfEdits = { runPath: { kind: "rpath", value: `/${"long/".repeat(60)}` } };
    expect(() => workshop.edit(name, edits)).toThrow(/no room for another program header.*GNU strip breaks/);
    const { path, patch, after } = workshop.edit(name, edits, { limits: { padding: 1 << 20 } });
    expect(patch.growth).toBe("table");
    expect(patch.changes).toContain("program header table moved: GNU strip would break the file");
    const env = { ...process.env, LD_PRELOAD: path, LD_BIND_NOW: "1" };
    expect(spawnSync("/bin/echo", ["fine"], { env, encoding: "utf8" })).toMatchObject({ stdout: "fine\n", stderr: "" });
    const loads = readElf(memorySource(after), name).segments.filter(({ type }) => type === 1);
    const delta = (index: number) => loads.at(index)!.vaddr - loads.at(index)!.offset;
    expect(delta(-1)).toBe(delta(0));
  });
});
