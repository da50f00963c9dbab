import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { readElf } from "../../src/elf/index.ts";
import { SymbolTable } from "../../src/elf/symbol-table.ts";

const folder = mkdtempSync(join(tmpdir(), "flixwrap-symbols-"));
afterAll(() => rmSync(folder, { recursive: true }));

const library = `
  extern int wanted_function(int), wanted_data; extern int weakly(void) __attribute__((weak));
  int unused_declaration(void);
  static int local(void) { return weakly ? weakly() : wanted_data; }
  int exported_${"x".repeat(300)}(void) { return local(); }
  int exported(void) { return wanted_function(1); }
  int data = 3;
  ${Array.from({ length: 200 }, (_, index) => `int many_${index}(void) { return ${index}; }`).join("\n")}
`;

function link(name: string, code: string, ...options: string[]): SymbolTable {
  const [source, output] = [join(folder, `${name}.c`), join(folder, name)];
  writeFileSync(source, code);
  execFileSync("gcc", ["-shared", "-fPIC", "-nostdlib", "-o", output, source, ...options]);
  const elf = readElf(memorySource(readFileSync(output)), name);
  const table = new SymbolTable(elf);
  // nm's letters: U undefined, w and v weak.
  const listed = execFileSync("nm", ["-D", output], { encoding: "utf8" }).matchAll(/^ +U (\S+)$/gm);
  expect(namesOf(table)).toEqual(Array.from(listed, ([, symbol]) => symbol!).toSorted());
  return table;
}

const namesOf = (table: SymbolTable): string[] => table.wanted.map((wanted) => table.nameOf(wanted)).toSorted();

describe.each(["gnu", "sysv", "both"])("symbols with hash style %s", (style) => {
  const option = `-Wl,--hash-style=${style}`;
  const provider = link(`provider-${style}.so`, library, option);
  const names = ["exported", `exported_${"x".repeat(300)}`, "data", "many_0", "many_199"];
  const absent = ["absent", "exported_", "many_200", "local", "weakly", "wanted_function"];
  const declared = [...names, ...absent].map((name) => `extern char ${name}[];`);
  const used = [...names, ...absent].map((name) => `(void *)${name}`);
  const asker = link(`asker-${style}.so`, `${declared.join("")} void *used[] = { ${used.join(", ")} };`, option);

  test("what has to be defined by somebody, as nm lists it", () => {
    expect(namesOf(provider)).toEqual(["wanted_data", "wanted_function"]);
    expect(namesOf(asker)).toEqual([...names, ...absent].toSorted());
  });

  test("who defines it", () => {
    const found = asker.wanted.filter((wanted) => provider.find(asker, wanted).length > 0);
    expect(found.map((wanted) => asker.nameOf(wanted)).toSorted()).toEqual(names.toSorted());
    expect(asker.wanted.flatMap((wanted) => asker.find(asker, wanted))).toEqual([]);
  });

  test("names that are mentioned", () => {
    expect(provider.mentions("wanted_function")).toBe(true);
    expect(provider.mentions("wanted_func")).toBe(false);
  });
});

test("a file that exports nothing and has no tag for its number of symbols", () => {
  const script = join(folder, "none.map");
  writeFileSync(script, "{ local: *; };");
  const code = "extern int absent(void), other; int start(void) { return absent() + other; }";
  const table = link("silent.so", code, "-Wl,--hash-style=gnu", `-Wl,--version-script=${script}`);
  expect(namesOf(table)).toEqual(["absent", "other"]);
});
