import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Ended, flixwrap, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
const libc = "/lib/libc-of-the-test.so.6";

beforeAll(() => {
  const libraries = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of ["/bin/cat", ...libraries])
    sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  sh(`cp ${libraries.find((path) => path.includes("libc.so.6"))} ${root}${libc}`);
});

const flix = (env: Readonly<Record<string, string>>, ...args: string[]): Ended =>
  flixwrap(["flix", ...args, `dir:${root}`, "x", "/bin/cat:/usr/bin/cat"], { env, cwd: work });

/** The extension-release file that comes out. */
function release(env: Readonly<Record<string, string>>, ...args: string[]): string {
  expect(flix(env, "--format", "dir", ...args).status).toBe(0);
  const text = readFileSync(join(work, "x/usr/lib/extension-release.d/extension-release.x"), "utf8");
  rmSync(join(work, "x"), { recursive: true });
  return text;
}

describe("the variables of the shell tools are defaults", () => {
  test.each([
    [{}, [], "_any"],
    [{ OS: "" }, [], "_any"],
    [{ OS: "flatcar" }, [], "flatcar"],
    [{ OS: "flatcar" }, ["--os", "debian"], "debian"],
  ] as const)("%j %j: ID=%s", (env, args, id) => {
    expect(/^ID=(.*)$/m.exec(release(env, ...args))![1]).toBe(id);
  });

  test.each([
    [{ FORMAT: "tar" }, [], "x.tar", "ustar"],
    [{ FORMAT: "tar" }, ["--format", "squashfs"], "x.raw", "hsqs"],
    [{ FORMAT: "" }, [], "x.raw", "hsqs"],
  ] as const)("%j %j: %s", (env, args, file, magic) => {
    const { status, stdout } = flix(env, ...args);
    expect([status, stdout]).toEqual([0, `${file}\n`]);
    const bytes = readFileSync(join(work, file));
    expect(bytes.subarray(magic === "ustar" ? 257 : 0).toString("latin1", 0, magic.length)).toBe(magic);
  });

  test.each(["x86-64", "amd64", "x86_64", "arm64", "linux/arm64", ""])("ARCH=%s is understood", (ARCH) => {
    expect(flix({ ARCH }, "--dry-run").status).toBe(0);
  });

  test.each([
    [{ EXTRALIBS: libc }, [], 1],
    [{ EXTRALIBS: `  ${libc} /lib/libc-of-*.so.6 ` }, [], 1],
    [{ EXTRALIBS: "/nowhere.so" }, ["--lib", libc], 1],
    [{ EXTRALIBS: "" }, [], 0],
  ] as const)("%j %j brings its library along %d times", (env, args, times) => {
    const { status, stdout } = flix(env, "--dry-run", ...args);
    expect(status).toBe(0);
    expect(stdout.split("\n").filter((line) => line.includes(`<- ${libc}`))).toHaveLength(times);
  });

  test.each([
    [{ FORMAT: "zip" }, 2, /'zip' from env 'FORMAT' is invalid/],
    [{ ARCH: "vax" }, 2, /'vax' from env 'ARCH' is invalid/],
    [{ OS: "a b" }, 1, /bad value for ID=.*got a b/],
    [{ EXTRALIBS: "/nowhere.so" }, 1, /no library in the image matches: got \/nowhere\.so/],
  ] as const)("%j is refused in one line", (env, status, message) => {
    const ended = flix(env);
    expect(ended.status).toBe(status);
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr).not.toMatch(/\n {4}at /);
  });
});
