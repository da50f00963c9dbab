import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runPatchelf } from "../../src/cli/patchelf/run.ts";
import { listElfFiles, sample } from "../corpus/elf-files.mjs";
import { flixwrap, main, scratch, sh } from "../support/program.ts";

/** patchelf's options, messages and exit status, with Debian's patchelf as the judge where both do the same. */
const folder = scratch();

async function call(...args: string[]) {
  let [out, err] = ["", ""];
  const status = await runPatchelf(args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    env: {},
  });
  return { status, out, err };
}

const fresh = (name: string, from = "/usr/bin/env") => {
  const path = join(folder, name);
  copyFileSync(from, path);
  return path;
};

const theirs = (...args: string[]) => {
  const { status, stdout } = spawnSync("patchelf", args, { encoding: "utf8" });
  return { status, out: stdout };
};

describe("printing", () => {
  const files = sample(listElfFiles(["/usr/bin", "/usr/lib/x86_64-linux-gnu"], { largest: 5e6 }), 40, 3);
  it.each(["--print-needed", "--print-rpath", "--print-soname", "--print-interpreter"])(
    "%s tells what patchelf tells",
    async (option) => {
      for (const path of files) {
        const { status, out } = await call(option, path);
        expect({ path, status, out }).toEqual({ path, ...theirs(option, path) });
      }
    },
  );

  it.each<[string[], number, RegExp, RegExp]>([
    [["--version"], 0, /^patchelf 0\.18\.0/, /^$/],
    [["--help"], 0, /^$/, /^syntax: patchelf\n.*--set-interpreter/s],
    [[], 1, /^$/, /^syntax: patchelf\n/],
    [["--print-os-abi", "/usr/bin/env"], 0, /^System V\n$/, /^$/],
    [["--print-execstack", "/usr/bin/env"], 0, /^execstack: -\n$/, /^$/],
    [["--print-rpath", "/usr/bin/env", "/usr/bin/true"], 0, /^\n\n$/, /^$/],
  ])("%j", async (args, status, out, err) => {
    const result = await call(...args);
    expect(result.status).toBe(status);
    expect(result.out).toMatch(out);
    expect(result.err).toMatch(err);
  });
});

describe("editing", () => {
  // Arguments, and what patchelf itself reads of the result.
  it.each<[string[], string, string]>([
    [["--set-rpath", "/a:/b"], "--print-rpath", "/a:/b\n"],
    [["--add-rpath", "/c"], "--print-rpath", "/c\n"],
    [["--force-rpath", "--set-rpath", "/a"], "--print-rpath", "/a\n"],
    [["--set-interpreter", "/lib64/ld-other.so.2"], "--print-interpreter", "/lib64/ld-other.so.2\n"],
    [["--interpreter", "/x"], "--print-interpreter", "/x\n"],
    [["--add-needed", "libz.so.1", "--add-needed", "liba.so"], "--print-needed", "liba.so\nlibz.so.1\nlibc.so.6\n"],
    [["--remove-needed", "libc.so.6"], "--print-needed", ""],
    [["--replace-needed", "libc.so.6", "libother.so"], "--print-needed", "libother.so\n"],
    [["--set-soname", "libenv.so"], "--print-soname", "libenv.so\n"],
  ])("%j", async (args, print, wanted) => {
    const path = fresh("edited");
    expect(await call(...args, path)).toEqual({ status: 0, out: "", err: "" });
    expect(theirs(print, path).out).toBe(wanted);
  });

  it("--add-rpath goes behind, --remove-rpath takes both kinds, RPATH becomes RUNPATH unless forced", async () => {
    const path = fresh("runpath");
    const tags = () =>
      [...sh(`readelf -d ${path}`).matchAll(/\((RPATH|RUNPATH)\).*\[(.*)\]/g)].map(
        ([, tag, value]) => `${tag} ${value}`,
      );
    await call("--force-rpath", "--set-rpath", "/a", path);
    expect(tags()).toEqual(["RPATH /a"]);
    await call("--force-rpath", "--add-rpath", "/b", path);
    expect(tags()).toEqual(["RPATH /a:/b"]);
    await call("--set-rpath", "/a:/b", path);
    expect(tags()).toEqual(["RUNPATH /a:/b"]);
    await call("--remove-rpath", path);
    expect(tags()).toEqual([]);
  });

  it("--shrink-rpath keeps folders that hold a needed library of this machine, and relative ones", async () => {
    const path = fresh("shrunk");
    for (const name of ["empty", "foreign", "twice"]) mkdirSync(join(folder, name));
    copyFileSync("/lib/x86_64-linux-gnu/libc.so.6", join(folder, "twice/libc.so.6"));
    const foreign = readFileSync("/lib/x86_64-linux-gnu/libc.so.6");
    foreign[18] = 183;
    writeFileSync(join(folder, "foreign/libc.so.6"), foreign);
    const runPath = [
      "$ORIGIN/lib",
      `${folder}/empty`,
      `${folder}/foreign`,
      "/lib/x86_64-linux-gnu",
      `${folder}/twice`,
    ].join(":");
    await call("--set-rpath", runPath, path);
    expect((await call("--shrink-rpath", path)).status).toBe(0);
    expect(theirs("--print-rpath", path).out).toBe("$ORIGIN/lib:/lib/x86_64-linux-gnu\n");
    await call("--set-rpath", runPath, path);
    await call("--shrink-rpath", "--allowed-rpath-prefixes", `/nowhere:${folder}`, path);
    expect(theirs("--print-rpath", path).out).toBe(`$ORIGIN/lib:${folder}/twice\n`);
  });

  it("@file stands for what the file holds, and several files are edited", async () => {
    const [one, two] = [fresh("one"), fresh("two")];
    writeFileSync(join(folder, "value"), "/from/a/file");
    expect((await call("--set-rpath", `@${folder}/value`, one, two)).status).toBe(0);
    expect(theirs("--print-rpath", one).out).toBe("/from/a/file\n");
    expect(theirs("--print-rpath", two).out).toBe("/from/a/file\n");
  });

  it("flags and stack", async () => {
    const path = fresh("flags");
    expect(
      (await call("--no-default-lib", "--add-debug-tag", "--set-execstack", "--set-os-abi", " linux ", path)).status,
    ).toBe(0);
    const text = sh(`readelf -hldW ${path}`);
    expect(text).toMatch(/Flags: NODEFLIB/);
    expect(text).toMatch(/GNU_STACK.*RWE/);
    expect(text).toMatch(/UNIX - GNU/);
    // Without the default folders the loader has to be told where the C library is.
    expect(() => execFileSync(path, ["echo", "fine"], { stdio: "pipe" })).toThrow("libc.so.6");
    const env = { LD_LIBRARY_PATH: "/lib/x86_64-linux-gnu" };
    expect(execFileSync(path, ["echo", "fine"], { encoding: "utf8", env })).toBe("fine\n");
  });
});

describe("complaints", () => {
  writeFileSync(join(folder, "text"), "text");
  writeFileSync(join(folder, "map"), "a b\na c\n");
  writeFileSync(join(folder, "half"), "a\n");
  writeFileSync(join(folder, "static.c"), "int main(void) { return 0; }\n");
  sh(`gcc -static -o ${folder}/static ${folder}/static.c`);
  const good = fresh("good");

  it.each<[string[], string]>([
    [["--set-rpath"], "missing argument"],
    [["--replace-needed", "a"], "missing argument(s)"],
    [["--print-rpath"], "missing filename"],
    [["--set-rpath", "/a", "--add-rpath", "/b", good], "--set-rpath option not allowed with --add-rpath"],
    [["--output", "/dev/null", good, good], "--output option only allowed with single input file"],
    [["--page-size", "many", good], "invalid argument to --page-size"],
    [["--set-os-abi", "Plan 9", good], "unrecognized OS ABI"],
    [["--set-rpath", "@/does/not/exist", good], "getting info about '/does/not/exist': no such file or directory"],
    [["--unknown", good], "cannot read the file: --unknown"],
    [["--print-rpath", join(folder, "text")], "not an ELF executable: not an ELF file"],
    [
      ["--print-interpreter", join(folder, "static")],
      "cannot find section '.interp'. The input file is most likely statically linked",
    ],
    [
      ["--set-rpath", "/a", join(folder, "static")],
      "cannot find section '.dynamic'. The input file is most likely statically linked",
    ],
    [["--set-interpreter", "/a", join(folder, "static")], "cannot find section '.interp'"],
    [["--rename-dynamic-symbols", join(folder, "map"), good], "Name 'a' appears twice in the map file"],
    [["--rename-dynamic-symbols", join(folder, "half"), good], "Map file line is missing the second element"],
    [["--rename-dynamic-symbols", "/none", good], "Cannot open map file /none"],
    [["--build-resolution-cache", good], "is not supported: only the loader of NixOS reads this cache"],
    [["--set-rpath", "/a", good, join(folder, "text")], "not an ELF executable"],
  ])("%j", async (args, wanted) => {
    const before = readFileSync(good);
    const { status, err } = await call(...args);
    expect(status).toBe(1);
    expect(err).toMatch(/^patchelf: [^\n]*\n$/);
    expect(err).toContain(wanted);
    expect(readFileSync(good).equals(before)).toBe(true);
  });
});

it("is a command of the program, without loading the rest of it", () => {
  const path = fresh("command");
  expect(flixwrap(["patchelf", "--set-rpath", "/a", path])).toEqual({ status: 0, stdout: "", stderr: "" });
  expect(flixwrap(["patchelf", "--print-rpath", path])).toEqual({ status: 0, stdout: "/a\n", stderr: "" });
  const loaded = sh(`strace -f -e trace=openat ${process.execPath} ${main} patchelf --print-rpath ${path} 2>&1`);
  const files = loaded.matchAll(/\/(?:dist|node_modules)\/(?:.*\/)?([^"/]+)", [^)]*\) = \d/g);
  expect([...files].map(([, name]) => name!.replace(/[-.].*/, "")).sort()).toEqual(["main", "patchelf", "rolldown"]);
});
