import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { type Ended, flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
let count = 0;

/** A root made of one-line C sources, with the machine's own C library. */
class Fixture {
  readonly root = join(work, `root-${count++}`);

  constructor() {
    for (const folder of ["usr/bin", "usr/lib"]) mkdirSync(join(this.root, folder), { recursive: true });
    for (const library of [loader, ...["libc.so.6", "libgcc_s.so.1"].map((name) => join(dirname(libc), name))]) {
      this.file(library, readFileSync(library), 0o755);
    }
  }

  file(path: string, content: string | Uint8Array, mode = 0o644): this {
    mkdirSync(join(this.root, dirname(path)), { recursive: true });
    writeFileSync(join(this.root, path), content, { mode });
    return this;
  }

  link(path: string, target: string): this {
    mkdirSync(join(this.root, dirname(path)), { recursive: true });
    symlinkSync(target, join(this.root, path));
    return this;
  }

  /** Compiles `source` to `path`; `flags` may name libraries by their path in the root (`@/usr/lib/libx.so.1`). */
  compile(path: string, source: string, ...flags: string[]): this {
    const input = join(work, "source.c");
    writeFileSync(input, source);
    mkdirSync(join(this.root, dirname(path)), { recursive: true });
    const resolved = flags.map((flag) => flag.replace(/^@/, this.root));
    execFileSync("gcc", ["-o", join(this.root, path), input, ...resolved], { stdio: ["ignore", "ignore", "inherit"] });
    return this;
  }

  /** A shared library whose function `name` returns `value`. */
  library(path: string, name: string, value: number, ...flags: string[]): this {
    const soname = flags.some((flag) => flag.includes("-soname"))
      ? []
      : [`-Wl,-soname,${path.slice(path.lastIndexOf("/") + 1)}`];
    return this.compile(path, `int ${name}(void) { return ${value}; }`, "-shared", "-fPIC", ...soname, ...flags);
  }

  /** Converts and gives the extension's folder. */
  flix(...args: string[]): { readonly folder: string; readonly ended: Ended } {
    const folder = join(work, `extension-${count++}`);
    return { folder, ended: flixFolder(folder, this.root, "x", args) };
  }

  /** Converts, and runs a command on a host that has no library. */
  run(entries: readonly string[], command: readonly string[], env: Readonly<Record<string, string>> = {}): Ended {
    const { folder, ended } = this.flix(...entries);
    expect(ended.stderr).not.toMatch(/^flix: /m);
    expect(ended.status).toBe(0);
    const host = busyboxHost(join(work, `host-${count++}`));
    merge(host, folder);
    return host.run(command, { env });
  }
}

const loader = /interpreter: (\S+)\]/.exec(sh("readelf -lW /bin/cat"))![1]!;
const libc = /libc\.so\.6 => (\S+)/.exec(sh("ldd /bin/cat"))![1]!;
const call = (...names: string[]): string =>
  `#include <stdio.h>\n${names.map((name) => `int ${name}(void);`).join("\n")}\nint main(void) { printf("${names.map(() => "%d").join(" ")}\\n", ${names.map((name) => `${name}()`).join(", ")}); }`;
const dlopens = (name: string, symbol: string): string =>
  `#include <dlfcn.h>\n#include <stdio.h>\nint main(void) { void *h = dlopen("${name}", RTLD_NOW); if (!h) { puts(dlerror()); return 1; } printf("%d\\n", ((int (*)(void))dlsym(h, "${symbol}"))()); }`;

describe("libraries are found as in the image", () => {
  test.each([
    ["an absolute DT_RUNPATH", "-Wl,--enable-new-dtags,-rpath,/opt/own/lib"],
    ["an absolute DT_RPATH", "-Wl,--disable-new-dtags,-rpath,/opt/own/lib"],
    ["a relative DT_RUNPATH", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../../opt/own/lib"],
  ])("by %s of the program", (_, flag) => {
    const fixture = new Fixture()
      .library("/opt/own/lib/libone.so", "one", 1)
      .compile("/usr/bin/app", call("one"), "@/opt/own/lib/libone.so", flag);
    expect(fixture.run(["/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({ stdout: "1\n", status: 0 });
  });

  test.each([
    ["absolute", "/opt/inner"],
    ["relative", "$ORIGIN/../../opt/inner"],
  ])("by the %s DT_RUNPATH of a library, which ends the inheritance in the image", (_, path) => {
    const fixture = new Fixture()
      .library("/opt/inner/libinner.so", "inner", 2)
      .compile(
        "/usr/lib/libouter.so",
        "int inner(void); int outer(void) { return inner() + 1; }",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libouter.so",
        "@/opt/inner/libinner.so",
        `-Wl,--enable-new-dtags,-rpath,${path}`,
      )
      .compile("/usr/bin/app", call("outer"), "@/usr/lib/libouter.so", "-Wl,--allow-shlib-undefined");
    const hostile = { LD_LIBRARY_PATH: "/usr/lib:/opt/inner" };
    expect(fixture.run(["/usr/bin/app"], ["/usr/bin/app"], hostile)).toMatchObject({ stdout: "3\n", status: 0 });
  });

  test("two libraries of one name, each by the object that asks for it", () => {
    const side = (name: string, value: number, fixture: Fixture): Fixture =>
      fixture
        .library(`/opt/${name}/libsame.so`, `${name}_same`, value)
        .compile(
          `/opt/${name}/lib${name}.so`,
          `int ${name}_same(void); int ${name}(void) { return ${name}_same(); }`,
          "-shared",
          "-fPIC",
          `-Wl,-soname,lib${name}.so`,
          `@/opt/${name}/libsame.so`,
          "-Wl,--enable-new-dtags,-rpath,$ORIGIN",
        );
    // In one process glibc takes the first of one soname for both; two programs get one each.
    const fixture = side("b", 20, side("a", 10, new Fixture()))
      .compile("/usr/bin/app-a", call("a"), "@/opt/a/liba.so", "-Wl,-rpath,/opt/a")
      .compile("/usr/bin/app-b", call("b"), "@/opt/b/libb.so", "-Wl,-rpath,/opt/b");
    expect(fixture.run(["/usr/bin/app-a", "/usr/bin/app-b"], ["sh", "-c", "app-a; app-b"])).toMatchObject({
      stdout: "10\n20\n",
      status: 0,
    });
  });

  test("through links, and the links arrive", () => {
    const fixture = new Fixture()
      .library("/usr/lib/libreal.so.1.2.3", "real", 4, "-Wl,-soname,libreal.so.1")
      .link("/usr/lib/libreal.so.1", "libreal.so.1.2.3")
      .compile("/usr/bin/app", call("real"), "@/usr/lib/libreal.so.1.2.3");
    expect(fixture.run(["/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({ stdout: "4\n", status: 0 });
  });

  test("for dlopen, by --lib and by EXTRALIBS, with what they need", () => {
    const fixture = new Fixture()
      .library("/opt/deep/libdeep.so", "deep", 5)
      .compile(
        "/opt/late/liblate.so.1.0",
        "int deep(void); int late(void) { return deep() + 1; }",
        "-shared",
        "-fPIC",
        "-Wl,-soname,liblate.so.1",
        "@/opt/deep/libdeep.so",
        "-Wl,-rpath,/opt/deep",
      )
      .link("/opt/late/liblate.so.1", "liblate.so.1.0")
      .compile("/usr/bin/app", dlopens("liblate.so.1", "late"));
    expect(fixture.run(["--lib", "/opt/late/*.so*", "/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({
      stdout: "6\n",
      status: 0,
    });
    expect(fixture.run(["--lib", "/opt/late/liblate.so.1.0", "/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({
      stdout: "6\n",
      status: 0,
    });
    const { folder } = fixture.flix("/usr/bin/app");
    const byVariable = flixFolder(folder, fixture.root, "x", ["/usr/bin/app"], {
      env: { EXTRALIBS: "/opt/late/liblate.so.1 /opt/deep/libdeep.so" },
    });
    expect(byVariable.status).toBe(0);
    expect(sh(`ls ${folder}/usr/lib/flixwrap/x/opt/late`)).toBe("liblate.so.1\nliblate.so.1.0\n");
    // The control: without it, the program cannot find its library.
    expect(fixture.run(["/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({ status: 1 });
    const { ended } = fixture.flix("--lib", "/opt/nothing/*.so", "/usr/bin/app");
    expect(ended.stderr).toMatch(/no library in the image matches: got \/opt\/nothing\/\*\.so/);
    expect(ended.status).toBe(1);
  });
});

describe.runIf(process.arch === "x64")("variants for newer processors (glibc-hwcaps)", () => {
  const variant = (level: string, value: number, ...flags: string[]) =>
    [`/opt/glibc-hwcaps/x86-64-v${level}/libv.so.1`, "v", value, ...flags] as const;
  const fixture = (): Fixture =>
    new Fixture()
      .library("/usr/lib/libw.so.1", "w", 1)
      .library("/opt/libv.so.1", "v", 1)
      .library(...variant("2", 2))
      // The variant needs more than the library that every processor loads.
      .library(...variant("3", 3, "-Wl,--no-as-needed", "@/usr/lib/libw.so.1"))
      .compile("/usr/bin/app", call("v"), "@/opt/libv.so.1", "-Wl,-rpath,/opt");
  const best = (): number => {
    const help = sh(`${loader} --help`);
    return [3, 2, 1].find((level) => level === 1 || help.includes(`x86-64-v${level} (supported, searched)`))!;
  };
  const privateLoader = `/usr/lib/flixwrap/x${loader}`;

  test("all come along, and each processor loads its own", () => {
    const made = fixture();
    expect(made.run(["/usr/bin/app"], ["/usr/bin/app"]).stdout).toBe(`${best()}\n`);
    for (const [mask, value] of [
      ["x86-64-v3:x86-64-v2", best()],
      ["x86-64-v2", Math.min(2, best())],
      ["none", 1],
    ] as const) {
      const ended = made.run(["/usr/bin/app"], [privateLoader, "--glibc-hwcaps-mask", mask, "/usr/bin/app"]);
      expect([mask, ended.stdout]).toEqual([mask, `${value}\n`]);
    }
    const { folder } = made.flix("/usr/bin/app");
    expect(sh(`find ${folder} -name 'lib[vw].so.1' | wc -l`).trim()).toBe("4");
  });

  test("or none of them, and what they alone need stays away", () => {
    const made = fixture();
    const words = ["--hwcaps", "baseline", "/usr/bin/app"];
    expect(made.run(words, ["/usr/bin/app"]).stdout).toBe("1\n");
    expect(sh(`find ${made.flix(...words).folder} -name 'lib[vw].so.1' | wc -l`).trim()).toBe("1");
  });

  test("what only a variant lacks is told, too", () => {
    const made = fixture();
    sh(`rm ${made.root}/usr/lib/libw.so.1`);
    expect(made.flix("--hwcaps", "baseline", "/usr/bin/app").ended.status).toBe(0);
    const { ended } = made.flix("/usr/bin/app");
    expect([ended.status, ended.stderr]).toEqual([1, expect.stringMatching(/libw\.so\.1/)]);
  });
});

describe("entries", () => {
  test("a link arrives as a working program under its own name", () => {
    const fixture = new Fixture()
      .compile(
        "/usr/lib/multi/real",
        `#include <stdio.h>\n#include <string.h>\nint main(int c, char **v) { puts(strrchr(v[0], '/') ? strrchr(v[0], '/') + 1 : v[0]); }`,
      )
      .link("/etc/alternatives/tool", "/usr/lib/multi/real")
      .link("/usr/bin/tool", "/etc/alternatives/tool");
    expect(fixture.run(["/usr/bin/tool"], ["/usr/bin/tool"])).toMatchObject({ stdout: "tool\n", status: 0 });
  });

  test("a program that looks around itself finds the folder that is shipped with it", () => {
    const self = `#include <stdio.h>\n#include <unistd.h>\nint main(void) { char p[4096] = ""; if (readlink("/proc/self/exe", p, 4095) > 0) puts(p); }`;
    const fixture = new Fixture()
      .file("/usr/lib/jvm/conf", "x")
      .link("/usr/bin/java", "../lib/jvm/bin/java")
      .compile("/usr/lib/jvm/bin/java", self);
    expect(fixture.run(["/usr/bin/java", "/usr/lib/jvm"], ["/usr/bin/java"])).toMatchObject({
      stdout: "/usr/lib/jvm/bin/java\n",
      status: 0,
    });
  });

  test("a folder is served: programs, plug-ins and links in it work", () => {
    const fixture = new Fixture()
      .library("/usr/lib/libhelp.so", "help", 7)
      .compile(
        "/usr/lib/app/plugins/p.so",
        "int help(void); int plug(void) { return help(); }",
        "-shared",
        "-fPIC",
        "@/usr/lib/libhelp.so",
      )
      .compile("/usr/lib/app/helper", call("help"), "@/usr/lib/libhelp.so")
      .link("/usr/lib/app/again", "helper")
      .file("/usr/lib/app/broken", Buffer.from("\x7fELF but not really"), 0o755)
      .compile("/usr/bin/app", dlopens("/usr/lib/app/plugins/p.so", "plug"));
    const { stdout, status } = fixture.run(
      ["/usr/bin/app", "/usr/lib/app"],
      ["sh", "-c", "app && /usr/lib/app/helper && /usr/lib/app/again"],
    );
    expect({ stdout, status }).toEqual({ stdout: "7\n7\n7\n", status: 0 });
  });

  test.each([
    ["its interpreter by path", "#!/usr/bin/interp"],
    ["its interpreter by env", "#!/usr/bin/env interp"],
    ["its interpreter with an argument", "#! /usr/bin/interp  -a b "],
    ["a script as its interpreter", "#!/usr/bin/second"],
  ])("a script brings %s along", (name, line) => {
    const interp = `#include <stdio.h>\nint main(int c, char **v) { for (int i = 1; i < c; i++) printf("[%s]", v[i]); puts(""); }`;
    const fixture = new Fixture()
      .compile("/usr/bin/interp", interp)
      .file("/usr/bin/second", "#!/usr/bin/interp second\n", 0o755)
      .file("/usr/bin/script", `${line}\nbody\n`, 0o755);
    const { stdout, status } = fixture.run(["/usr/bin/script"], ["/usr/bin/script", "x y"]);
    const expected: Record<string, string> = {
      "its interpreter with an argument": "[-a b][/usr/bin/script][x y]\n",
      "a script as its interpreter": "[second][/usr/lib/flixwrap/x/usr/bin/second][/usr/bin/script][x y]\n",
    };
    expect(stdout).toBe(expected[name] ?? "[/usr/bin/script][x y]\n");
    expect(status).toBe(0);
  });

  test.each([
    ["an interpreter that the image does not have", { "/usr/bin/script": "#!/usr/bin/python9\n" }, /python9/],
    [
      "scripts that run each other",
      { "/usr/bin/script": "#!/usr/bin/other\n", "/usr/bin/other": "#!/usr/bin/script\n" },
      /circle/,
    ],
    ["env with settings", { "/usr/bin/script": "#!/usr/bin/env A=b interp\n" }, /env/],
  ])("%s is told in one line", (_, files, message) => {
    const fixture = new Fixture();
    for (const [path, text] of Object.entries(files)) fixture.file(path, text, 0o755);
    const { ended } = fixture.flix("/usr/bin/script");
    expect(ended.stderr).toMatch(message);
    expect(ended.status).toBe(1);
  });

  test("a static program is copied as it is, and that is said", () => {
    const fixture = new Fixture().compile("/usr/bin/static", "int main(void) { return 42; }", "-static");
    const { folder, ended } = fixture.flix("/usr/bin/static");
    expect(ended.stderr).toMatch(/warning +\/usr\/bin\/static is static/);
    expect(
      readFileSync(join(folder, "usr/bin/static")).equals(readFileSync(join(fixture.root, "usr/bin/static"))),
    ).toBe(true);
  });

  test("a library may not stand where the host's loader looks", () => {
    const fixture = new Fixture()
      .library("/usr/lib/libx.so", "x", 1)
      .compile("/usr/lib/liby.so", "int x(void); int y(void) { return x(); }", "-shared", "-fPIC", "@/usr/lib/libx.so");
    const { ended } = fixture.flix("/usr/lib/liby.so");
    expect(ended.stderr).toMatch(/host's loader looks: \/usr\/lib\/liby\.so/);
    expect(ended.status).toBe(1);
  });
});

describe("what would fail on the host fails now", () => {
  const twoVersions = (): Fixture => {
    const script = join(work, "versions.map");
    writeFileSync(script, "V1 { global: vone; };\nV2 { global: vtwo; } V1;\n");
    return new Fixture()
      .compile(
        "/usr/lib/libv.so",
        "int vone(void) { return 1; } int vtwo(void) { return 2; }",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libv.so",
        `-Wl,--version-script,${script}`,
      )
      .compile("/usr/bin/app", call("vone", "vtwo"), "@/usr/lib/libv.so");
  };

  test("a symbol version that the library lacks", () => {
    const fixture = twoVersions();
    const older = join(work, "older.map");
    writeFileSync(older, "V1 { global: vone; };\n");
    fixture.compile(
      "/usr/lib/libv.so",
      "int vone(void) { return 1; }",
      "-shared",
      "-fPIC",
      "-Wl,-soname,libv.so",
      `-Wl,--version-script,${older}`,
    );
    const { ended } = fixture.flix("/usr/bin/app");
    expect(ended.stderr).toMatch(/libv\.so: version `V2' not found \(required by \/usr\/bin\/app\)/);
    expect(ended.status).toBe(1);
  });

  test("a symbol that nobody defines", () => {
    const fixture = new Fixture()
      .library("/usr/lib/libs.so", "gone", 1)
      .compile("/usr/bin/app", call("gone"), "@/usr/lib/libs.so");
    fixture.library("/usr/lib/libs.so", "other", 1);
    const { ended } = fixture.flix("/usr/bin/app");
    expect(ended.stderr).toMatch(/gone.*needed by \/usr\/bin\/app/);
    expect(ended.status).toBe(1);
  });

  test("data of a library that the program has room for, and the library has it no more", () => {
    const source = `#include <stdio.h>\nextern int gone;\nint main(void) { printf("%d\\n", gone); }`;
    const library = (name: string): string[] => [`int ${name} = 3;`, "-shared", "-fPIC", "-Wl,-soname,libs.so"];
    const fixture = new Fixture();
    const compile = (path: string, [code = "", ...flags]: readonly string[]): Fixture =>
      fixture.compile(path, code, ...flags);
    compile("/usr/lib/libs.so", library("gone"));
    compile("/usr/bin/app", [source, "-fno-pic", "-no-pie", "@/usr/lib/libs.so"]);
    expect(sh(`readelf -rW ${fixture.root}/usr/bin/app`)).toMatch(/R_\w+_COPY .* gone/);
    expect(fixture.run(["/usr/bin/app"], ["/usr/bin/app"]).stdout).toBe("3\n");
    compile("/usr/lib/libs.so", library("other"));
    const { ended } = fixture.flix("/usr/bin/app");
    expect(ended.stderr).toMatch(/defined nowhere.*\n.*gone, needed by \/usr\/bin\/app/);
    expect(ended.status).toBe(1);
  });
});

test("--prefix chooses the place of the private files", () => {
  const fixture = new Fixture()
    .library("/usr/lib/libp.so", "p", 8)
    .compile("/usr/bin/app", call("p"), "@/usr/lib/libp.so");
  expect(fixture.run(["--prefix", "/opt/private", "/usr/bin/app"], ["/usr/bin/app"])).toMatchObject({
    stdout: "8\n",
    status: 0,
  });
});

test("the plan can be read by people and by programs, and writes nothing", () => {
  const fixture = new Fixture()
    .library("/usr/lib/libp.so", "p", 8)
    .compile("/usr/bin/app", call("p"), "@/usr/lib/libp.so");
  const text = fixture.flix("--dry-run", "/usr/bin/app");
  expect(text.ended.stdout).toMatch(
    /^copy +\/usr\/lib\/flixwrap\/x\/usr\/lib\/libp\.so <- \/usr\/lib\/libp\.so \(libp\.so needed by \/usr\/bin\/app \(default \/usr\/lib\)\)$/m,
  );
  const json = fixture.flix("--dry-run", "--json", "/usr/bin/app");
  const { actions } = JSON.parse(json.ended.stdout) as { actions: { kind: string; to: string; from?: string }[] };
  expect(actions).toContainEqual(
    expect.objectContaining({ kind: "copy", to: "/usr/lib/flixwrap/x/usr/lib/libp.so", from: "/usr/lib/libp.so" }),
  );
  for (const line of json.ended.stderr.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("kind");
  expect(sh(`ls -d ${text.folder} ${json.folder} 2>/dev/null || true`)).toBe("");
});

afterAll(() => sh(`chmod -R u+w ${work}`));
