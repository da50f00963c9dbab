import { copyFileSync, mkdirSync, realpathSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { readElf } from "../../src/elf/index.ts";
import { openWorkshop, run, type Edited, type Workshop } from "./elf-workshop.ts";

/**
 * Programs of other machines, edited here and run by qemu-user: all classes and byte orders. The tests take five
 * machines; `FLIXWRAP_MACHINES=all` takes all twelve (their cross compilers are Debian packages, too).
 */
const machines = [
  { triplet: "aarch64-linux-gnu", qemu: "aarch64", common: true },
  { triplet: "arm-linux-gnueabihf", qemu: "arm", common: true },
  { triplet: "s390x-linux-gnu", qemu: "s390x", common: true },
  { triplet: "powerpc-linux-gnu", qemu: "ppc", common: true },
  { triplet: "i686-linux-gnu", qemu: "i386", common: true },
  { triplet: "riscv64-linux-gnu", qemu: "riscv64" },
  { triplet: "powerpc64le-linux-gnu", qemu: "ppc64le" },
  { triplet: "powerpc64-linux-gnu", qemu: "ppc64" },
  { triplet: "mips-linux-gnu", qemu: "mips" },
  { triplet: "mips64el-linux-gnuabi64", qemu: "mips64el" },
  { triplet: "sparc64-linux-gnu", qemu: "sparc64" },
  { triplet: "alpha-linux-gnu", qemu: "alpha" },
].filter(({ common }) => common || process.env["FLIXWRAP_MACHINES"] === "all");

let workshop: Workshop;
beforeAll(() => void (workshop = openWorkshop()));
afterAll(() => workshop.close());

describe.each(machines)("$triplet", ({ triplet, qemu }) => {
  const libraries = `/usr/${triplet}/lib`;
  let folder: string;

  beforeAll(() => {
    folder = workshop.path(triplet);
    mkdirSync(folder);
    workshop.compile(
      `${triplet}-gcc`,
      "-shared",
      "-fPIC",
      "-Wl,-soname,libanswer.so",
      "-Wl,--version-script=answer.map",
      "-o",
      `${triplet}/libanswer.so`,
      "answer.c",
    );
  });

  describe.each([
    ["pie", ["-pie", "-fPIE"]],
    ["no-pie", ["-no-pie", "-fno-pie"]],
  ])("%s", (kind, flags) => {
    let edited: Edited;

    it("runs with another loader and run path", () => {
      const name = `${triplet}/${kind}`;
      workshop.compile(`${triplet}-gcc`, ...flags, "-o", name, "main.c", `${triplet}/libanswer.so`);
      const { interpreter } = readElf(memorySource(workshop.edit(name, {}).before), name);
      const loader = `${folder}/a-private-loader-with-a-name-that-is-longer-than-any-other.so`;
      copyFileSync(realpathSync(`/usr/${triplet}${interpreter}`), loader);
      edited = workshop.edit(name, {
        interpreter: loader,
        runPath: { kind: "rpath", value: `/nowhere:${folder}:${libraries}` },
        noDefaultLib: true,
      });
      expect(() => run(`qemu-${qemu}-static`, workshop.path(name))).toThrow();
      expect(run(`qemu-${qemu}-static`, edited.path)).toBe("42\n");
      const text = run("readelf", "-ldW", edited.path);
      expect(text).toContain(`interpreter: ${loader}]`);
      expect(text).toContain("NODEFLIB");
    });

    it("still runs after strip", () => {
      workshop.compile(`${triplet}-strip`, "-o", `${triplet}/${kind}.stripped`, edited.path);
      expect(run(`qemu-${qemu}-static`, workshop.path(triplet, `${kind}.stripped`))).toBe("42\n");
    });

    it("does not grow where the linker left room", () => {
      if (edited.patch.growth === "slack") expect(edited.after.length).toBe(edited.before.length);
      else expect(edited.after.length - edited.before.length).toBeLessThan(1024);
    });
  });
});
