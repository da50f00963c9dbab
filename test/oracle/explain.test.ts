import { execFileSync } from "node:child_process";
import { mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Explanation } from "../../src/wrap/explain/explanation.ts";
import { debianRoot } from "../support/debian-root.ts";
import { flixwrap, scratch, sh } from "../support/program.ts";

const work = scratch();

function explain(root: string, ...args: string[]): Explanation {
  const { status, stdout, stderr } = flixwrap(["explain", "--json", `dir:${root}`, ...args]);
  expect(stderr.split("\n").filter((line) => line.includes('"error"'))).toEqual([]);
  expect(status).toBe(0);
  return JSON.parse(stdout) as Explanation;
}

describe("a root of Debian's packages", () => {
  let root: string;
  let told: Explanation;
  beforeAll(() => {
    root = debianRoot(["curl"], { configured: true });
    told = explain(root, "/usr/bin/curl", "/usr/bin/ldd");
  });

  test("the libraries are those that the root's own loader maps", () => {
    const listed = sh(`chroot ${root} /lib64/ld-linux-x86-64.so.2 --list /usr/bin/curl`);
    const real = (paths: readonly string[]): string[] =>
      sh(`chroot ${root} realpath ${paths.join(" ")}`)
        .trim()
        .split("\n");
    const mapped = real([...listed.matchAll(/=> (\S+) \(/g)].map(([, path]) => path!));
    const late = told.files.flatMap(({ needs }) => needs).filter((need) => need.late !== undefined);
    // What the shell of the script needs, too.
    const [shell] = real(["/lib/x86_64-linux-gnu/libtinfo.so.6"]);
    const found = told.files.filter(({ role }) => role === "library").map(({ path }) => path);
    expect(new Set(found)).toEqual(new Set([...mapped, ...late.map(({ path }) => path!), shell!]));
  });

  test("needs are the entries that readelf lists", () => {
    const objects = told.files.filter(({ role }) => role !== "script");
    const listed = sh(`readelf -dW ${objects.map(({ path }) => root + path).join(" ")}`)
      .split(/^File: /m)
      .slice(1);
    expect(listed).toHaveLength(objects.length);
    for (const [index, { path, needs }] of objects.entries()) {
      const names = [...listed[index]!.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!);
      const own = needs.filter(({ late, rule }) => late === undefined && rule?.kind !== "interpreter");
      expect([path, new Set(own.map(({ name }) => name))]).toEqual([path, new Set(names)]);
    }
  });

  test("packages and versions are those of dpkg-query, sizes those of the files", () => {
    expect(told.files.length).toBeGreaterThan(30);
    // dpkg knows paths as packages spell them, /lib for what is /usr/lib, and fails for those that it does not know.
    const spellings = told.files.flatMap(({ path }) => [path, path.replace(/^\/usr/, "")]);
    const lines = sh(`dpkg-query --root=${root} -S ${spellings.join(" ")} 2>/dev/null || true`);
    const owners = new Map([...lines.matchAll(/^([^:,]+).*: (\S+)$/gm)].map(([, name, path]) => [path!, name!]));
    const versions = new Map(
      [...sh(`dpkg-query --root=${root} -W -f '\${Package} \${Version}\n'`).matchAll(/^(\S+) (\S+)$/gm)].map(
        ([, name, version]) => [name!, version],
      ),
    );
    for (const { path, size, package: owner } of told.files) {
      expect(size).toBe(statSync(root + path).size);
      const name = owners.get(path) ?? owners.get(path.replace(/^\/usr/, ""))!;
      expect([path, owner]).toEqual([path, { type: "deb", name, version: versions.get(name) }]);
    }
    expect(told.packages.reduce((sum, { size }) => sum + size, 0)).toBe(told.size);
  });

  test("a script's interpreter is needed by its first line", () => {
    const ldd = told.files.find(({ path }) => path === "/usr/bin/ldd")!;
    expect(ldd).toMatchObject({ role: "script", needs: [{ name: "/bin/bash", path: "/usr/bin/bash" }] });
  });

  test("plug-in folders and names in strings are hints", () => {
    const folders = told.hints.flatMap((hint) => (hint.kind === "plug-ins" ? [hint.folder] : []));
    expect(folders).toContain("/usr/lib/x86_64-linux-gnu/gconv");
    expect(folders).toContain("/usr/lib/x86_64-linux-gnu/ossl-modules");
  });

  test("a library by itself is explained, too", () => {
    const library = explain(root, "/usr/lib/x86_64-linux-gnu/libssl.so.3");
    expect(library.files.map(({ path }) => path.replace(/.*\//, ""))).toEqual(
      expect.arrayContaining(["libssl.so.3", "libcrypto.so.3", "libc.so.6"]),
    );
  });

  test("Graphviz reads the graph: a node per file, an edge per need", () => {
    const { stdout } = flixwrap(["flix", "explain", "--dot", `dir:${root}`, "/usr/bin/curl", "/usr/bin/ldd"]);
    const graph = readDot(stdout);
    expect(graph.labels.map((label) => label.split("\\n")[0])).toEqual(
      expect.arrayContaining(told.files.map(({ path }) => path)),
    );
    expect(graph.labels).toHaveLength(told.files.length);
    expect(graph.edges).toBe(told.files.reduce((sum, { needs }) => sum + needs.length, 0));
  });
});

/** What `dot` itself understands of a graph. */
function readDot(text: string): { labels: string[]; edges: number } {
  const json = execFileSync("dot", ["-Tdot_json"], { input: text, encoding: "utf8", maxBuffer: 1 << 28 });
  const { objects = [], edges = [] } = JSON.parse(json) as {
    objects?: { name: string; label: string; nodes?: unknown }[];
    edges?: unknown[];
  };
  return {
    labels: objects.filter(({ name }) => !name.startsWith("cluster")).map(({ label }) => label),
    edges: edges.length,
  };
}

describe("a root of one's own", () => {
  const root = join(work, "root");
  const write = (path: string, content: string, mode = 0o644): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode });
  };
  const compile = (path: string, source: string, ...flags: string[]): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    execFileSync("musl-gcc", ["-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
  };

  beforeAll(() => {
    const libc = sh("readlink -f /lib/ld-musl-x86_64.so.1").trim();
    mkdirSync(join(root, "lib"), { recursive: true });
    sh(`cp ${libc} ${root}/lib/ld-musl-x86_64.so.1`);
    compile("usr/lib/liblate.so.1", "int late(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,liblate.so.1");
    compile("usr/lib/libx.so.1", "int x(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libx.so.1");
    compile(
      "usr/bin/p",
      '#include <dlfcn.h>\nint x(void);\nint main(void) { return x() + !dlopen("liblate.so.1", RTLD_NOW); }',
      join(root, "usr/lib/libx.so.1"),
    );
    compile("usr/bin/lost", "int main(void) { return 0; }", "-Wl,--no-as-needed", join(root, "usr/lib/libx.so.1"));
    // The paragraphs of apk's "installed" file (apk-tools, doc/apk-package.5 and -v2): P name, V version, F folder, R file.
    write(
      "lib/apk/db/installed",
      "P:p\nV:1.2-r3\nA:x86_64\nF:usr\nF:usr/bin\nR:p\na:0:0:755\n\nP:libx\nV:1-r0\nA:x86_64\nF:usr/lib\nR:libx.so.1\n\n",
    );
    write("etc/os-release", "ID=alpine\nVERSION_ID=3.20.0\n");
    symlinkSync("p", join(root, "usr/bin/link"));
  });

  test("apk's packages; a link is told by its goal", () => {
    const { asked, files } = explain(root, "/usr/bin/link");
    expect(asked).toEqual([{ path: "/usr/bin/link", files: ["/usr/bin/p"] }]);
    expect(files.map(({ path, package: owner }) => [path, owner?.name, owner?.version])).toEqual(
      expect.arrayContaining([
        ["/usr/bin/p", "p", "1.2-r3"],
        ["/usr/lib/libx.so.1", "libx", "1-r0"],
        ["/lib/ld-musl-x86_64.so.1", undefined, undefined],
      ]),
    );
  });

  test("a library that is only a string is a hint, and no longer one when it is asked for", () => {
    const hint = { kind: "library", name: "liblate.so.1", path: "/usr/lib/liblate.so.1", namedBy: ["/usr/bin/p"] };
    expect(explain(root, "/usr/bin/p").hints).toEqual([hint]);
    const asked = explain(root, "--lib", "/usr/lib/liblate.so.1", "/usr/bin/p");
    expect(asked.hints).toEqual([]);
    expect(asked.files.map(({ path }) => path)).toContain("/usr/lib/liblate.so.1");
  });

  test("what flix would refuse is explained, with what is missing", () => {
    const other = join(work, "other");
    sh(`cp -a ${root} ${other} && rm ${other}/usr/lib/libx.so.1`);
    const { refusal, files } = explain(other, "/usr/bin/lost");
    expect(refusal?.[0]).toMatch(/cannot find a library in the image: got libx\.so\.1/);
    expect(files[0]!.needs).toContainEqual({ name: "libx.so.1" });
    const text = flixwrap(["explain", `dir:${other}`, "/usr/bin/lost"]).stdout;
    expect(text).toMatch(/libx\.so\.1 IS MISSING/);
  });

  test("hostile names arrive in Graphviz as they are", () => {
    const names = ['q"uote', "back\\slash", "end\\", "&lt;b&gt;", "<b>html", "}", "\\N\\G"];
    for (const name of names) sh(`cp ${root}/usr/bin/p "$NAME"`, { env: { NAME: join(root, name) } });
    const { stdout } = flixwrap(["explain", "--dot", `dir:${root}`, ...names.map((name) => `/${name}`)]);
    const svg = execFileSync("dot", ["-Tsvg"], { input: stdout, encoding: "utf8" });
    const shown = [...svg.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map(([, text]) =>
      text!
        .replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)))
        .replaceAll("&lt;", "<")
        .replaceAll("&gt;", ">")
        .replaceAll("&quot;", '"')
        .replaceAll("&amp;", "&")
        .replaceAll("\u00a0", " "),
    );
    expect(shown).toEqual(expect.arrayContaining(names.map((name) => `/${name}`)));
  });

  test.each([
    [["explain", "dir:ROOT"], 2, /missing required argument 'path'/],
    [["explain", "dir:ROOT", "p"], 2, /not an absolute path of the image: got p/],
    [["explain", "--dot", "--html", "dir:ROOT", "/usr/bin/p"], 2, /cannot be used with/],
    [["explain", "dir:ROOT", "/nowhere"], 1, /no such path in the image.*\/nowhere/],
    [["explain", "dir:ROOT/none", "/nowhere"], 1, /none/],
    [["explain", "--json", "dir:ROOT", "/nowhere"], 1, /"code":"wrap-entry-missing"/],
  ] as const)("%j ends with status %d and one line", (args, status, message) => {
    const ended = flixwrap(args.map((word) => word.replace("ROOT", root)));
    expect(ended).toMatchObject({ status, stdout: "" });
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr).not.toMatch(/\n {4}at /);
  });
});
