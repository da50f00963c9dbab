import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
let count = 0;

const compile = (path: string, source: string, ...flags: string[]): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  execFileSync("gcc", ["-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
};
const starts = (path: string): string =>
  `#include <stdio.h>\n#include <unistd.h>\nint main(void) { execl("${path}", "${path}", (char *)0); perror("cannot start"); return 9; }`;

beforeAll(() => {
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  compile("usr/lib/libhelp.so", "int help(void) { return 6; }", "-shared", "-fPIC", "-Wl,-soname,libhelp.so");
  const answers =
    '#include <stdio.h>\nint help(void);\nint main(int c, char **v) { printf("%s %d\\n", v[0], help()); }';
  compile("usr/lib/main-core/work", answers, join(root, "usr/lib/libhelp.so"));
  symlinkSync("work", join(root, "usr/lib/main-core/also"));
  compile("usr/bin/interp", '#include <stdio.h>\nint main(int c, char **v) { printf("script %s\\n", v[1]); }');
  writeFileSync(join(root, "usr/lib/main-core/script"), "#!/usr/bin/interp\n");
  chmodSync(join(root, "usr/lib/main-core/script"), 0o755);
  writeFileSync(join(root, "usr/lib/main-core/README"), "no program");
  compile("srv/main/work", "int main(void) { return 0; }");
  compile("usr/bin/main", starts("/usr/lib/main-core/work"));
  compile("usr/bin/by-link", starts("/usr/lib/main-core/also"));
  compile("usr/bin/by-script", starts("/usr/lib/main-core/script"));
  compile("usr/bin/by-folder", `#include <stdio.h>\nint main(void) { puts("/usr/lib/main-core"); }`);
});

/** Wrapper scripts, as packages have them in front of programs of their own. */
const script = (name: string, text: string): void =>
  writeFileSync(join(root, "usr/bin", name), `#!/usr/bin/interp\n${text}\n`, { mode: 0o755 });

const all = ["/usr/bin/main", "/usr/bin/by-link", "/usr/bin/by-script"];
const told = /warning +\/usr\/lib\/main-core\/work is not taken: \/usr\/bin\/main names it; add the PATH (\S+), or/;

function flix(...words: string[]): { readonly folder: string; readonly status: number | null; readonly said: string } {
  const folder = join(work, `extension-${count++}`);
  const ended = flixFolder(folder, root, "x", ["--quiet", ...words]);
  return { folder, status: ended.status, said: ended.stderr };
}
function run(folder: string, program: string): string {
  const host = busyboxHost(join(work, `host-${count++}`));
  merge(host, folder);
  const { stdout, stderr } = host.run([program]);
  return stdout + stderr;
}

describe("programs that a script names", () => {
  test.each([
    ["a program of its own", "exec /usr/lib/main-core/work", "; add the PATH /usr/lib/main-core/work, or use flatwrap"],
    ["one outside of /usr and /opt", 'exec -a "$0" "/srv/main/work" "$@"', "; use flatwrap"],
    [
      "what every host has, data, comments, parts of paths",
      "# /usr/lib/main-core/work\n/usr/bin/main /usr/lib/main-core/README $x/usr/lib/main-core/work",
      undefined,
    ],
  ])("%s", (_, text, advice) => {
    script("wrapper", text);
    const { status, said } = flix("/usr/bin/wrapper");
    expect(status).toBe(0);
    const path = /\/\S+work/.exec(text)![0];
    expect(said).toBe(
      advice === undefined ? "" : `warning  ${path} is not taken: /usr/bin/wrapper names it${advice}\n`,
    );
  });

  test("one that is taken, too, is not told", () => {
    script("wrapper", "exec /usr/lib/main-core/work");
    expect(flix("/usr/bin/wrapper", "/usr/lib/main-core/work").said).toBe("");
  });
});

describe("programs that programs start by a compiled-in path", () => {
  test("come along by a pattern: programs with their libraries, links, scripts with their interpreters, no data", () => {
    const { folder, status, said } = flix("--with-binaries", "/usr/lib/main-core/*", ...all);
    expect([status, said]).toEqual([0, ""]);
    expect(run(folder, "/usr/bin/main")).toBe("/usr/lib/main-core/work 6\n");
    expect(run(folder, "/usr/bin/by-link")).toBe("/usr/lib/main-core/also 6\n");
    expect(run(folder, "/usr/bin/by-script")).toBe("script /usr/lib/main-core/script\n");
    expect(sh(`cd ${folder}/usr/lib/main-core && ls && readlink also`)).toBe("also\nscript\nwork\nwork\n");
  });

  test("are told when they are missing; the control fails, and the advice helps", () => {
    const without = flix("/usr/bin/main");
    expect(without.said).toMatch(told);
    expect(run(without.folder, "/usr/bin/main")).toMatch(/cannot start: No such file/);
    const advised = flix("/usr/bin/main", told.exec(without.said)![1]!);
    expect([advised.said, run(advised.folder, "/usr/bin/main")]).toEqual(["", "/usr/lib/main-core/work 6\n"]);
  });

  test("a folder of them is told once, with their number", () => {
    expect(flix("/usr/bin/by-folder", "/usr/bin/interp").said).toMatch(
      /^warning +\/usr\/lib\/main-core, with 3 programs, is not taken: \/usr\/bin\/by-folder names it; add the PATH \/usr\/lib\/main-core, or use flatwrap\n$/,
    );
  });

  test("taken to another place they cannot work, and that is told", () => {
    const { said } = flix("/usr/bin/main", "/usr/lib/main-core:/usr/lib/elsewhere");
    expect(said).toMatch(/main-core\/work is taken to another place, where it is not looked for: .* or use flatwrap/);
  });

  test("what lies outside of /usr and /opt stands in the private folder", () => {
    const { folder, status, said } = flix("--with-binaries", "/srv/main/work", "/usr/bin/interp");
    expect([status, said]).toEqual([0, expect.stringMatching(/\/srv\/main\/work stands at .* needs flatwrap/)]);
    sh(`test -x ${folder}/usr/lib/flixwrap/x/srv/main/work`);
  });

  test.each(["/usr/lib/nothing/*", "/usr/lib/main-core/README"])(
    "a pattern without a program is an error: %s",
    (pattern) => {
      const { status, said, folder } = flix("--with-binaries", pattern, "/usr/bin/main");
      expect([status, said]).toEqual([1, expect.stringContaining(`no program in the image matches: got ${pattern}`)]);
      expect(sh(`ls -d ${folder} 2>/dev/null || true`)).toBe("");
    },
  );
});
