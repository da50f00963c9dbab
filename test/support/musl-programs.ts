import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeMuslRoot } from "./musl-root.ts";
import { debianSource } from "./debian-source.ts";
import { kept } from "./kept.ts";
import { sh } from "./program.ts";

/**
 * A root as Alpine has it, with programs built by musl-gcc from Debian's sources (busybox, bash and its loadable
 * commands, jq with libjq and oniguruma, lua with its library) and bun, a C++ program, out of npm. Takes about 40 s,
 * then it is kept below the temporary folder; tests must not write into it.
 */
export function muslProgramsRoot(): string {
  return kept("root-musl-programs", (root) => {
    const work = `${root}.build`;
    mkdirSync(work);
    makeMuslRoot(root);
    buildBash(root, work);
    buildJq(root, work);
    buildLua(root);
    addBun(root, work);
    rmSync(work, { recursive: true });
  });
}

/** `musl-gcc` on all C files of a folder but some; the rest are its own words. */
function compile(folder: string, but: RegExp, ...args: string[]): void {
  const files = readdirSync(folder).filter((name) => name.endsWith(".c") && !but.test(name));
  const paths = files.map((name) => join(folder, name));
  execFileSync("musl-gcc", ["-O1", "-w", ...args.slice(0, -2), ...paths, ...args.slice(-2)]);
}

function buildBash(root: string, work: string): void {
  const build = join(work, "bash");
  mkdirSync(build);
  const words = "--without-bash-malloc --disable-nls --disable-readline --with-curses=no";
  sh(
    `${debianSource("bash")}/configure --host=$(uname -m)-linux-musl CC=musl-gcc CFLAGS="-O0 -w" ${words} >/dev/null 2>&1
    make -s -j2 >/dev/null 2>&1 && make -s -C examples/loadables CC=musl-gcc realpath >/dev/null 2>&1
    mkdir -p ${root}/usr/lib/bash && cp bash ${root}/usr/bin && cp examples/loadables/realpath ${root}/usr/lib/bash`,
    { cwd: build },
  );
}

/** By hand: the sources come without their configure scripts, which would take longer than all else. */
function buildJq(root: string, work: string): void {
  const [jq, onig] = [join(debianSource("jq"), "src"), join(debianSource("libonig"), "src")];
  const generated = join(work, "src");
  mkdirSync(generated);
  const has = "ALLOCA_H STDINT_H INTTYPES_H SYS_TIMES_H SYS_TIME_H SYS_TYPES_H UNISTD_H".split(" ");
  const sizes = "INT=4 LONG=8 LONG_LONG=8 VOIDP=8".split(" ");
  const config = [
    ...has.map((name) => `HAVE_${name} 1`),
    ...sizes.map((size) => `SIZEOF_${size.replace("=", " ")}`),
    'PACKAGE "onig"',
    'VERSION "6"',
  ];
  writeFileSync(join(generated, "config.h"), config.map((line) => `#define ${line}\n`).join(""));
  const included = /^mktable|_data(_posix)?\.c$|^unicode_fold_data|^regpos|^unicode_e|^unicode_wb/;
  const shared = ["-fPIC", "-shared", `-I${generated}`];
  const libonig = join(root, "usr/lib/libonig.so.5");
  compile(onig, included, ...shared, "-DHAVE_CONFIG_H", `-I${onig}`, "-Wl,-soname,libonig.so.5", "-o", libonig);

  writeFileSync(
    join(generated, "builtin.inc"),
    readFileSync(join(jq, "builtin.jq"), "utf8")
      .split("\n")
      .map((line) => `${JSON.stringify(`${line}\n`)}\n`)
      .join(""),
  );
  writeFileSync(join(generated, "version.h"), '#define JQ_VERSION "musl"\n');
  const functions =
    "MEMMEM ISATTY TM_TM_GMT_OFF TIMEGM STRPTIME GMTIME_R LOCALTIME_R GETTIMEOFDAY FLOOR SQRT POW".split(" ");
  const words = [
    ...functions.map((name) => `-DHAVE_${name}`),
    ...["-DHAVE_LIBONIG", "-DIEEE_8087", "-D_GNU_SOURCE", `-I${work}`, `-I${jq}`, `-I${onig}`],
  ];
  const libjq = join(root, "usr/lib/libjq.so.1");
  compile(jq, /^(main|jq_test|inject_errors)\.c/, ...shared, ...words, "-Wl,-soname,libjq.so.1", libonig, "-o", libjq);
  const main = [join(jq, "main.c"), join(jq, "jq_test.c")];
  execFileSync("musl-gcc", ["-O1", "-w", ...words, ...main, libjq, libonig, "-o", join(root, "usr/bin/jq")]);
}

function buildLua(root: string): void {
  const source = join(debianSource("lua5.4"), "src");
  const library = join(root, "usr/lib/liblua5.4.so.0");
  const shared = ["-fPIC", "-shared", "-DLUA_USE_LINUX"];
  compile(source, /^luac?\.c/, ...shared, "-Wl,-soname,liblua5.4.so.0", "-o", library);
  const main = join(source, "lua.c");
  execFileSync("musl-gcc", ["-O1", "-w", "-DLUA_USE_LINUX", main, library, "-o", join(root, "usr/bin/lua")]);
  // A module in C, for dlopen.
  const modules = join(root, "usr/lib/lua/5.4");
  mkdirSync(modules, { recursive: true });
  execFileSync("musl-gcc", ["-xc", "-", "-fPIC", "-shared", `-I${source}`, "-o", join(modules, "answer.so")], {
    input: `#include "lua.h"
int luaopen_answer(lua_State *state) { lua_pushinteger(state, 42); return 1; }`,
  });
}

/**
 * bun for musl, and what it needs of libstdc++. No registry that CI reaches has a libstdc++ for musl; bun asks for three
 * dozen of its symbols, none of which knows of locales, so those members of GCC's own archive are linked for musl.
 */
function addBun(root: string, work: string): void {
  const architecture = process.arch === "arm64" ? "aarch64" : "x64";
  sh(`npm pack --silent @oven/bun-linux-${architecture}-musl@1.4.5 >/dev/null && tar -xzf *.tgz`, { cwd: work });
  const bun = join(work, "package/bin/bun");
  chmodSync(bun, 0o755);
  writeFileSync(
    join(work, "glue.c"),
    `#include <sys/random.h>
/* What GCC's archives ask of glibc 2.36, and musl 1.2.3 does not have. */
char __libc_single_threaded;
int _dl_find_object(void *address, void *result) { return -1; }
unsigned arc4random(void) { unsigned value; getrandom(&value, sizeof value, 0); return value; }`,
  );
  sh(
    `archive=$(g++ -print-file-name=libstdc++.a)
    nm -D bun | awk '{print $NF}' | sed 's/@.*//' | sort -u >wanted
    nm -g --defined-only $archive 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u >there
    musl-gcc -shared -fPIC -Wl,-soname,libstdc++.so.6 -o ${root}/usr/lib/libstdc++.so.6 ${work}/glue.c \
      $(comm -12 wanted there | sed 's/^/-Wl,-u,/') $archive $(gcc -print-file-name=libgcc_eh.a)
    cp bun ${root}/usr/bin/bun`,
    { cwd: join(work, "package/bin") },
  );
}
