import { describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { explainMissing, glibc, resolveClosure } from "../../../src/loader/index.ts";
import { fakeRoot, loaderStrings } from "./fake-root.ts";

const ld = "/lib64/ld-linux-x86-64.so.2";
const ldMusl = "/lib/ld-musl-x86_64.so.1";
const loaders = { [ld]: { soname: "ld-linux-x86-64.so.2" }, [ldMusl]: {} };
const loaderFiles = { [ld]: loaderStrings.glibc, [ldMusl]: loaderStrings.musl };
const p = rootPath("/bin/p");

describe("the closure", () => {
  test("has programs, loader and libraries in load order, each with who needs it and by which rule", () => {
    const { rootfs, options } = fakeRoot(
      {
        ...loaders,
        "/bin/p": { interpreter: ld, needed: ["liba.so", "libc.so.6"], rpath: "/opt" },
        "/opt/liba.so.1": { needed: ["libb.so", "libc.so.6"] },
        "/opt/libb.so": {},
        "/usr/lib64/libc.so.6": { needed: ["ld-linux-x86-64.so.2"] },
      },
      { ...loaderFiles, "/opt/liba.so": { target: "liba.so.1" } },
    );
    const { objects, missing, warnings, processes } = resolveClosure(rootfs, [p], options);
    expect(objects.map(({ node, role, foundAs }) => [node.path, role, foundAs])).toEqual([
      ["/bin/p", "program", ["/bin/p"]],
      [ld, "interpreter", [ld]],
      ["/opt/liba.so.1", "library", ["/opt/liba.so"]],
      ["/usr/lib64/libc.so.6", "library", ["/usr/lib64/libc.so.6"]],
      ["/opt/libb.so", "library", ["/opt/libb.so"]],
    ]);
    expect(objects.flatMap(({ reasons }) => reasons)).toEqual([
      { neededBy: "/bin/p", name: ld, rule: { kind: "interpreter" } },
      { neededBy: "/usr/lib64/libc.so.6", name: "ld-linux-x86-64.so.2", rule: { kind: "loaded" } },
      { neededBy: "/bin/p", name: "liba.so", rule: { kind: "rpath", owner: "/bin/p", folder: "/opt" } },
      { neededBy: "/bin/p", name: "libc.so.6", rule: { kind: "default", folder: "/usr/lib64" } },
      { neededBy: "/opt/liba.so.1", name: "libc.so.6", rule: { kind: "loaded" } },
      { neededBy: "/opt/liba.so.1", name: "libb.so", rule: { kind: "rpath", owner: "/bin/p", folder: "/opt" } },
    ]);
    expect({ missing, warnings }).toEqual({ missing: [], warnings: [] });
    expect(processes).toEqual([
      {
        main: "/bin/p",
        loader: ld,
        family: "glibc",
        levels: [],
        objects: ["/bin/p", "/opt/liba.so.1", "/usr/lib64/libc.so.6", "/opt/libb.so", ld],
      },
    ]);
  });

  test("two libraries of one name both arrive, each for its own program", () => {
    const { rootfs, options } = fakeRoot(
      {
        ...loaders,
        "/bin/p": { interpreter: ld, needed: ["libx.so"], runpath: "/opt/1" },
        "/bin/q": { interpreter: ld, needed: ["libx.so"], runpath: "/opt/2" },
        "/opt/1/libx.so": { soname: "libx.so" },
        "/opt/2/libx.so": { soname: "libx.so" },
      },
      loaderFiles,
    );
    const { processes } = resolveClosure(rootfs, [p, rootPath("/bin/q")], options);
    expect(processes.map(({ objects }) => objects[1])).toEqual(["/opt/1/libx.so", "/opt/2/libx.so"]);
  });

  test("programs of glibc and of musl in one root follow their own rules", () => {
    const { rootfs, options } = fakeRoot(
      {
        ...loaders,
        "/bin/p": { interpreter: ld, needed: ["libx.so", "libc.so.6"] },
        "/bin/m": { interpreter: ldMusl, needed: ["libx.so", "libc.so.6"] },
        "/lib64/libx.so": {},
        "/lib64/libc.so.6": {},
        "/usr/local/lib/libx.so": {},
      },
      loaderFiles,
    );
    const { processes, missing } = resolveClosure(rootfs, [p, rootPath("/bin/m")], options);
    expect(processes.map(({ objects }) => objects)).toEqual([
      ["/bin/p", "/lib64/libx.so", "/lib64/libc.so.6"],
      ["/bin/m", "/usr/local/lib/libx.so", ldMusl],
    ]);
    expect(missing).toEqual([]);
  });

  test("a library by itself runs under the loader in use, or the usual one of what it was linked with", () => {
    const plugin = { needed: ["libc.so.6", "libx.so"] };
    const objects = {
      ...loaders,
      "/opt/plugin.so": plugin,
      "/opt/musl.so": { needed: ["libc.musl-x86_64.so.1", "libx.so"] },
      "/usr/lib64/libc.so.6": {},
      "/usr/lib64/libx.so": {},
      "/usr/lib/libx.so": {},
    };
    const { rootfs, options } = fakeRoot(objects, loaderFiles);
    const libraries = [rootPath("/opt/plugin.so"), rootPath("/opt/musl.so")];
    const closure = resolveClosure(rootfs, [], { ...options, libraries });
    expect(closure.processes.map(({ loader, objects: [, ...others] }) => [loader, others])).toEqual([
      [ld, ["/usr/lib64/libc.so.6", "/usr/lib64/libx.so"]],
      [ldMusl, [ldMusl, "/usr/lib/libx.so"]],
    ]);
    expect(closure.objects.find(({ node }) => node.path === "/opt/plugin.so")).toMatchObject({
      role: "library",
      reasons: [],
    });
  });

  test("facts of loader and objects can be corrected, as for a private loader without folders", () => {
    const { rootfs, options } = fakeRoot(
      { ...loaders, "/bin/p": { interpreter: ld, needed: ["libx.so"] }, "/usr/lib64/libx.so": {}, "/opt/libx.so": {} },
      loaderFiles,
    );
    const facts = {
      facts: (read: Parameters<NonNullable<typeof options.facts>>[0]) => ({
        ...read,
        defaults: { ...read.defaults, folders: [] },
        confFolders: [],
      }),
    };
    expect(resolveClosure(rootfs, [p], { ...options, ...facts }).missing).toHaveLength(1);
    const readObject: typeof options.readObject = (node) => {
      const elf = options.readObject(node);
      return elf === undefined || node.path !== p ? elf : { ...elf, rpath: "/opt" };
    };
    const patched = resolveClosure(rootfs, [p], { ...options, ...facts, readObject });
    expect(patched.processes[0]?.objects).toEqual(["/bin/p", "/opt/libx.so"]);
  });

  test("a search list is data: one that is taken away is not asked", () => {
    const { rootfs, options } = fakeRoot(
      { ...loaders, "/bin/p": { interpreter: ld, needed: ["libx.so"], runpath: "/opt" }, "/opt/libx.so": {} },
      loaderFiles,
    );
    const lists = glibc.lists.filter(({ kind }) => kind !== "run-path");
    const closure = resolveClosure(rootfs, [p], {
      ...options,
      facts: (read) => ({ ...read, policy: { ...glibc, lists } }),
    });
    expect(closure.missing[0]?.searched.map(({ rule }) => rule)).toEqual(["default", "default"]);
  });
});

describe("what cannot be found", () => {
  test("is told all at once, with the order of the search", () => {
    const { rootfs, options } = fakeRoot(
      {
        ...loaders,
        "/bin/p": { interpreter: ld, needed: ["liba.so", "libnone.so", "libodd.so"], rpath: "/opt:/srv/none:here" },
        "/opt/liba.so": { needed: ["libnone.so"], runpath: "$ORIGIN" },
        "/opt/libodd.so": { machine: 183 },
        "/lib64/libodd.so": { machine: 183 },
      },
      loaderFiles,
    );
    expect(explainMissing(resolveClosure(rootfs, [p], options).missing)).toEqual([
      "libnone.so, needed by /bin/p",
      "  /opt (DT_RPATH of /bin/p)",
      "  /srv/none (DT_RPATH of /bin/p): no such folder",
      "  here (DT_RPATH of /bin/p): relative to the folder the program is started in",
      "  /lib64 (default folder)",
      "  /usr/lib64 (default folder): no such folder",
      "libnone.so, needed by /opt/liba.so",
      "  /opt (DT_RUNPATH of /opt/liba.so)",
      "  /lib64 (default folder)",
      "  /usr/lib64 (default folder): no such folder",
      "libodd.so, needed by /bin/p",
      "  /opt (DT_RPATH of /bin/p): /opt/libodd.so is for another machine",
      "  /srv/none (DT_RPATH of /bin/p): no such folder",
      "  here (DT_RPATH of /bin/p): relative to the folder the program is started in",
      "  /lib64 (default folder): /lib64/libodd.so is for another machine",
      "  /usr/lib64 (default folder): no such folder",
    ]);
  });

  test("a loader that is not in the root", () => {
    const { rootfs, options } = fakeRoot({ "/bin/p": { interpreter: ld, needed: ["liba.so"] } });
    expect(explainMissing(resolveClosure(rootfs, [p], options).missing)).toEqual([
      `${ld}, needed by /bin/p`,
      "  /lib64 (loader)",
    ]);
  });

  test("the libraries of a plug-in for which there is no loader", () => {
    const { rootfs, options } = fakeRoot({ "/opt/a.so": { needed: ["libc.so.6"] } });
    const { missing } = resolveClosure(rootfs, [], { ...options, libraries: [rootPath("/opt/a.so")] });
    expect(missing).toEqual([{ name: "libc.so.6", neededBy: "/opt/a.so", searched: [] }]);
  });

  test.each([
    { title: "no such program", objects: {}, code: "loader-no-program" },
    {
      title: "a loader of a third kind",
      objects: { "/bin/p": { interpreter: "/lib/ld-uClibc.so.0" }, "/lib/ld-uClibc.so.0": {} },
      code: "loader-unknown",
    },
  ])("$title is an error", ({ objects, code }) => {
    const { rootfs, options } = fakeRoot(objects);
    expect(() => resolveClosure(rootfs, [p], options)).toThrow(expect.objectContaining({ code }));
  });

  test("a run path of very many folders ends with an error", () => {
    const rpath = Array.from({ length: 260_000 }, (_, i) => `/${i.toString(36)}`).join(":");
    const { rootfs, options } = fakeRoot(
      { ...loaders, "/bin/p": { interpreter: ld, needed: ["liba.so", "libb.so"], rpath } },
      loaderFiles,
    );
    expect(() => resolveClosure(rootfs, [p], options)).toThrow(
      expect.objectContaining({ code: "loader-search-too-long" }),
    );
  });
});
