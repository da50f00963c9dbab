import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const work = scratch();

/** Makes a root: the C library of this machine, and what a case adds. */
class Root {
  readonly folder = mkdtempSync(join(work, "root-"));

  constructor() {
    const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
    for (const path of files) sh(`mkdir -p $(dirname ${this.folder}${path}) && cp -L ${path} ${this.folder}${path}`);
  }

  compile(path: string, source: string, ...flags: string[]): this {
    mkdirSync(join(this.folder, dirname(path)), { recursive: true });
    const words = flags.map((flag) => flag.replace(/^@/, this.folder));
    execFileSync("gcc", ["-xc", "-", "-xnone", "-o", join(this.folder, path), ...words], { input: source });
    return this;
  }

  library(path: string, source: string, ...flags: string[]): this {
    const soname = `-Wl,-soname,${path.slice(path.lastIndexOf("/") + 1)}`;
    return this.compile(path, source, "-shared", "-fPIC", soname, ...flags);
  }

  script(path: string, line: string): this {
    mkdirSync(join(this.folder, dirname(path)), { recursive: true });
    writeFileSync(join(this.folder, path), `${line}\n`, { mode: 0o755 });
    return this;
  }

  without(...paths: string[]): this {
    for (const path of paths) sh(`rm ${this.folder}${path}`);
    return this;
  }
}

const main = "int f(void); int main(void) { return f(); }";
const versions = (...names: string[]): string => {
  const file = join(work, `${names.join("")}.map`);
  writeFileSync(file, names.map((name) => `${name} { global: ${name.toLowerCase()}; };\n`).join(""));
  return `-Wl,--version-script,${file}`;
};
const loader = /interpreter: (\S+)\]/.exec(sh("readelf -lW /bin/cat"))![1]!;
const abiTag = (system: number, major: number): string =>
  `__asm__(".section .note.ABI-tag,\\"a\\",%note\\n.long 4,16,1\\n.asciz \\"GNU\\"\\n.long ${system},${major},99,0\\n.previous");\n`;

/** What is wrong, the image, the words, and all that is said, ROOT standing for the root's folder. */
const cases: readonly (readonly [string, () => Root, readonly string[], string])[] = [
  [
    "a library that the image does not have, two of them, each with who needs it and where it was looked for",
    () =>
      new Root()
        .library("/usr/lib/libg.so.1", "int g(void) { return 0; }")
        .library("/opt/libf.so.1", "int f(void) { return 0; }")
        .compile("/usr/bin/p", main, "@/opt/libf.so.1", "-Wl,-rpath,/opt:/srv")
        .compile("/usr/bin/q", main.replaceAll("f()", "g()").replace("int f", "int g"), "@/usr/lib/libg.so.1")
        .without("/opt/libf.so.1", "/usr/lib/libg.so.1"),
    ["/usr/bin/p", "/usr/bin/q"],
    `flix: cannot find 2 libraries in the image: got libf.so.1, libg.so.1; add the packages that have them to the image
  libf.so.1, needed by /usr/bin/p
    /opt (DT_RUNPATH of /usr/bin/p)
    /srv (DT_RUNPATH of /usr/bin/p): no such folder
    DEFAULTS
  libg.so.1, needed by /usr/bin/q
    DEFAULTS
`,
  ],
  [
    "a library where the image's loader does not look",
    () =>
      new Root()
        .library("/app/lib/libf.so.1", "int f(void) { return 0; }")
        .compile("/usr/bin/p", main, "@/app/lib/libf.so.1"),
    ["/usr/bin/p"],
    `flix: cannot find a library in the image: got libf.so.1; the image has /app/lib/libf.so.1, where its loader does not look: name the folder in the image's LD_LIBRARY_PATH, or by --run in /etc/ld.so.conf (glibc) or /etc/ld-musl-ARCH.path (musl)
  libf.so.1, needed by /usr/bin/p
    DEFAULTS
`,
  ],
  [
    "a symbol version that the library lacks",
    () =>
      new Root()
        .library("/usr/lib/libv.so.1", "int v1(void) { return 1; } int v2(void) { return 2; }", versions("V1", "V2"))
        .compile("/usr/bin/p", "int v2(void); int main(void) { return v2(); }", "@/usr/lib/libv.so.1")
        .library("/usr/lib/libv.so.1", "int v1(void) { return 1; }", versions("V1")),
    ["/usr/bin/p"],
    `flix: libraries of the image do not fit together: the loader would refuse to start the program; update the image's packages together
  /usr/lib/libv.so.1: version \`V2' not found (required by /usr/bin/p)
`,
  ],
  [
    "scripts that run each other in a circle",
    () => new Root().script("/usr/bin/a", "#!/usr/bin/b").script("/usr/bin/b", "#!/usr/bin/env a"),
    ["/usr/bin/a"],
    `flix: scripts that run each other in a circle: /usr/bin/a
  /usr/bin/a
  /usr/bin/b
  /usr/bin/a
`,
  ],
  [
    "a script whose interpreter is not in the image",
    () => new Root().script("/usr/bin/s", "#!/usr/bin/ruby -w"),
    ["/usr/bin/s"],
    "flix: the interpreter of a script is not in the image: /usr/bin/s: got #!/usr/bin/ruby -w; add the package that has it to the image\n",
  ],
  [
    "a script whose interpreter env does not find",
    () => new Root().script("/usr/bin/s", "#!/usr/bin/env ruby"),
    ["/usr/bin/s"],
    "flix: the image has no ruby for a script: /usr/bin/s: got #!/usr/bin/env ruby; add the package that has it to the image\n",
  ],
  [
    "a program whose loader is not in the image",
    () => new Root().compile("/usr/bin/p", "int main(void) { return 0; }").without(loader),
    ["/usr/bin/p"],
    `flix: the loader of a program is not in the image; add the C library's package to the image
  ${loader}, needed by /usr/bin/p
`,
  ],
  [
    "a program that needs a newer kernel than the hosts have",
    () => new Root().compile("/usr/bin/p", `${abiTag(0, 6)}int main(void) { return 0; }`),
    ["/usr/bin/p"],
    `flix: needs another kernel than the hosts have: wanted Linux 5.4 at the most; say with --kernel which Linux all hosts have
  /usr/bin/p needs Linux 6.99.0
`,
  ],
  [
    "a static program that is not for Linux",
    () => new Root().compile("/usr/bin/p", `${abiTag(3, 1)}int main(void) { return 0; }`, "-static"),
    ["/usr/bin/p"],
    `flix: needs another kernel than the hosts have: wanted Linux 5.4 at the most; say with --kernel which Linux all hosts have
  /usr/bin/p is no program for Linux
`,
  ],
  [
    "setuid programs without leave, all at once",
    () => {
      const root = new Root();
      for (const [name, mode] of [
        ["s", "4755"],
        ["t", "2755"],
      ] as const) {
        root.compile(`/usr/bin/${name}`, "int main(void) { return 0; }");
        sh(`chmod ${mode} ${root.folder}/usr/bin/${name}`);
      }
      return root;
    },
    ["/usr/bin/s", "/usr/bin/t"],
    `flix: setuid or setgid files need a permission of their own; allow them with --allow-suid
  /usr/bin/s (mode 4755)
  /usr/bin/t (mode 2755)
`,
  ],
  [
    "the second of several smoke tests that fails, with its own words",
    () =>
      new Root().compile(
        "/usr/bin/p",
        '#include <stdio.h>\nint main(int c, char **v) { if (c < 2) return 0; fprintf(stderr, "no\\nway\\n"); return 3; }',
      ),
    ["--smoke", "/usr/bin/p", "--smoke", "/usr/bin/p 'now and then'", "/usr/bin/p"],
    `flix: the program fails inside the extension: /usr/bin/p now and then: got exit status 3
  no
  way
`,
  ],
];

describe("what cannot work is told in full, ends with status 1, and leaves nothing", () => {
  test.each(cases)("%s", (_, makeRoot, words, said) => {
    const root = makeRoot().folder;
    const place = mkdtempSync(join(work, "place-"));
    const temporary = mkdtempSync(join(work, "temporary-"));
    const ended = flixwrap(["flix", "--quiet", `dir:${root}`, "x", ...words], {
      cwd: place,
      env: { TMPDIR: temporary, PATH: process.env["PATH"]! },
    });
    // The folders that every search ends with are the machine's own.
    const defaults = ended.stderr.replaceAll(/(?: {4}\S+ \(default folder\).*\n)+/g, "    DEFAULTS\n");
    expect(defaults.replaceAll(root, "ROOT")).toBe(said);
    expect(ended).toMatchObject({ status: 1, stdout: "" });
    expect([readdirSync(place), readdirSync(temporary)]).toEqual([[], []]);
  });

  test("with the kernel that the hosts have, the same program is taken", () => {
    const root = new Root().compile("/usr/bin/p", `${abiTag(0, 6)}int main(void) { return 0; }`).folder;
    const ended = flixwrap(["flix", "--quiet", "--dry-run", "--kernel", "7.0", `dir:${root}`, "x", "/usr/bin/p"]);
    expect([ended.status, ended.stderr]).toEqual([0, ""]);
  });
});
