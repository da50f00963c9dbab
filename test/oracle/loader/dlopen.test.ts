import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";

/** A note as UAPI.12 wants it, in assembler: sizes, type, owner, JSON. */
function dlopenNote(entries: readonly object[]): string {
  const json = JSON.stringify(entries).replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  const lines = [
    '.pushsection .note.dlopen,"a",%note',
    ".balign 4",
    ".long 4, 2f - 1f, 0x407c0c0a",
    '.asciz "FDO"',
    `1: .asciz "${json}"`,
    "2: .balign 4",
    ".popsection",
  ];
  return `__asm__(${JSON.stringify(`${lines.join("\n")}\n`)});\n`;
}

/** A library that loads libb.so and prints where it came from. */
const loading = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
void run(void) {
  void *library = dlopen("libb.so", RTLD_NOW);
  if (library == NULL) { puts("not found"); return; }
  struct link_map *map;
  dlinfo(library, RTLD_DI_LINKMAP, &map);
  puts(map->l_name);
}
${dlopenNote([{ soname: ["libb.so"], priority: "required" }])}`;

const calling = "void run(void); int main(void) { run(); return 0; }\n";

const places: readonly { readonly title: string; readonly program: object; readonly library: object }[] = [
  { title: "DT_RUNPATH of the caller", program: { runpath: "/opt:/srv/p" }, library: { runpath: "/srv/a" } },
  { title: "DT_RPATH of the program", program: { rpath: "/opt:/srv/p" }, library: {} },
  {
    title: "DT_RPATH of the caller before the program's",
    program: { rpath: "/opt:/srv/p" },
    library: { rpath: "/srv/a" },
  },
  { title: "DT_RUNPATH of the program alone", program: { runpath: "/opt:/srv/p" }, library: {} },
];

describe.each(["glibc", "musl"] as const)("what a %s library loads by dlopen(3), against a real call", (family) => {
  const roots = new FixtureRoots(family);
  afterAll(() => roots.remove());

  test.each(places)("$title", ({ program, library }) => {
    const nodes: Record<string, FixtureNode> = {
      "/bin/p": { needs: [{ name: "liba.so", code: "void run(void) {}" }], ...program, libc: true, code: calling },
      "/opt/liba.so": { ...library, libc: true, code: loading },
      "/srv/a/libb.so": {},
      "/srv/p/libb.so": {},
    };
    const root = roots.build(nodes);
    const live = roots.run(root, ["/bin/p"]).stdout.trim();
    expect(live).toMatch(/^\/srv\/.*|^not found$/);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")], { dlopen: "required" });
    const found = closure.objects.find(({ reasons }) => reasons.some(({ name }) => name === "libb.so"));
    expect(found?.node.path ?? "not found").toBe(live);
    expect(found?.reasons.map(({ neededBy }) => neededBy) ?? []).toEqual(found === undefined ? [] : ["/opt/liba.so"]);
    expect(closure.missing.map(({ name }) => name)).toEqual(live === "not found" ? ["libb.so"] : []);
  });
});

describe("levels and alternatives of .note.dlopen", () => {
  const roots = new FixtureRoots("glibc");
  afterAll(() => roots.remove());
  const root = roots.build({
    "/bin/p": {
      runpath: "/opt",
      code: dlopenNote([
        { soname: ["libnone.so", "libreq.so", "libreq2.so"], priority: "required" },
        { soname: ["librec.so"], feature: "rec", description: "a recommendation" },
        { soname: ["libsug.so"], priority: "suggested" },
        { soname: ["libabsent.so"], priority: "suggested", description: "nice to have" },
      ]),
    },
    "/opt/libreq.so": { needs: ["libdeep.so"], runpath: "/opt" },
    "/opt/libreq2.so": {},
    "/opt/libdeep.so": {},
    "/opt/librec.so": {},
    "/opt/libsug.so": {},
  });
  const rootfs = openFolder(root);

  test.each([
    { level: "none", names: [] },
    { level: "required", names: ["libdeep.so", "libreq.so"] },
    { level: "recommended", names: ["libdeep.so", "librec.so", "libreq.so"] },
    { level: "suggested", names: ["libdeep.so", "librec.so", "libreq.so", "libsug.so"] },
  ] as const)("$level", ({ level, names }) => {
    const closure = resolveClosure(rootfs, [rootPath("/bin/p")], { dlopen: level });
    const libraries = closure.objects.filter(({ role }) => role === "library");
    expect(libraries.flatMap(({ reasons }) => reasons.map(({ name }) => name)).toSorted()).toEqual(names);
    expect(closure.missing).toEqual([]);
    const warned = closure.warnings.filter((warning) => warning.includes("libabsent.so (suggested: nice to have)"));
    expect(warned.length).toBe(level === "suggested" ? 1 : 0);
  });
});
