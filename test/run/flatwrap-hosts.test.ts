import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { smokeTestWrapped } from "../../src/convert/flatwrap-smoke.ts";
import { quietContext } from "../../src/core/context.ts";
import { debianRoot } from "../support/debian-root.ts";
import { scratch } from "../support/program.ts";
import { makeRoot, type Mode, modes, openToAll, readReport, runIn, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const root = join(folder, "root");
const tree = join(folder, "tree");
const probe = join(tree, "usr/bin/probe");
const asRoot = modes.find(({ name }) => name === "root, unshare");

beforeAll(async () => {
  makeRoot(root);
  await stage(root, tree, ["/usr/bin/probe"]);
});

describe("what cannot work is told in one line", () => {
  // Root without CAP_SYS_ADMIN, as in containers.
  const powerless = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
  const unmerged = (place: string): string =>
    `the extension is not merged: there is no ${place}/usr/lib/flixwrap/probe/enter; FLATWRAP_ROOT=FOLDER runs it from a tree`;
  it.each<[string, readonly string[], Record<string, string>, string]>([
    ["no tool", [], { PATH: "/nowhere", FLATWRAP_VIA: "unshare" }, "unshare is needed and not in PATH"],
    ["not merged", [], { FLATWRAP_ROOT: "" }, unmerged("")],
    ["not merged, nor in that folder", [], { FLATWRAP_ROOT: "/no\\where" }, unmerged("/no\\where")],
    ["an unknown way", [], { FLATWRAP_VIA: "docker" }, "FLATWRAP_VIA is start, bwrap or unshare, not docker"],
    [
      "user namespaces are forbidden",
      [
        "unshare",
        "-U",
        "-r",
        "sh",
        "-c",
        `echo 0 >/proc/sys/user/max_user_namespaces; exec ${powerless.join(" ")} "$@"`,
        "sh",
      ],
      {},
      "user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons",
    ],
  ])("%s", (_, prefix, env, message) => {
    const ran = runIn({ prefix, env: { NOBWRAP: "1" } }, [probe], { env: { FLATWRAP_ROOT: tree, ...env } });
    expect(ran).toMatchObject({ status: 126, stdout: "", stderr: `flatwrap: /usr/bin/probe: ${message}\n` });
  });

  it("root without the right to mount makes a user namespace", () => {
    if (asRoot === undefined) return;
    const ran = runIn({ prefix: powerless, env: {} }, [probe], { env: { FLATWRAP_ROOT: tree } });
    expect(ran.stderr).toBe("");
    expect(readReport(ran.stdout)).toMatchObject({ uid: [0, 0], gid: [0, 0], cwd: "/tmp" });
  });
});

describe.each(modes)("mapping: $name", (mode) => {
  const at = async (name: string, options: Parameters<typeof stage>[3]): Promise<string> => {
    const out = join(folder, `${name} ${mode.name}`);
    return existsSync(out) ? out : stage(root, out, ["/usr/bin/probe"], options);
  };
  const run = (where: string, args: readonly string[], cwd = "/tmp") =>
    runIn(mode, [join(where, "usr/bin/probe"), ...args], { env: { FLATWRAP_ROOT: where }, cwd });

  it("(Y07) the root's /etc, read-only, with single files of the host", async () => {
    const where = await at("etc", { etc: "chroot" });
    expect(run(where, ["read", "/etc/own", "/etc/passwd", "/etc/hosts", "/etc/fstab"]).stdout).toBe(
      "/etc/own ok\n/etc/passwd ok\n/etc/hosts ok\n/etc/fstab ENOENT\n",
    );
    expect(run(where, ["write", "/etc/own"]).stdout).toMatch(/EROFS|EACCES/);
    expect(run(where, ["make", "/etc/x"]).stdout).toBe("/etc/x EROFS\n");
  });

  it("the host's /etc with the root's own loader cache before it", async () => {
    expect(run(tree, ["read", "/etc/own"]).stdout).toBe("/etc/own ENOENT\n");
    const cache = readFileSync(join(root, "etc/ld.so.cache"));
    const shown = runIn(mode, [probe, "cat"], { env: { FLATWRAP_ROOT: tree }, input: cache });
    expect(shown.stdout.length).toBe(cache.length);
  });

  it("binds: writable, read-only, under another name, single files", async () => {
    const data = join(folder, "some data, odd 'name'");
    mkdirSync(join(data, "below"), { recursive: true });
    writeFileSync(join(data, "file"), "x");
    for (const path of [data, join(data, "below"), join(data, "file")]) chmodSync(path, 0o777);
    const bind = [`${data}:/data`, `${data}:/sealed:ro`, `${join(data, "file")}:/etc-like/file:ro:file`];
    const where = await at("binds", { bind });
    const name = mode.name.replace(/\W/g, "");
    expect(run(where, ["make", `/data/${name}`, `/data/below/${name}`, `/sealed/x${name}`]).stdout).toBe(
      `/data/${name} ok\n/data/below/${name} ok\n/sealed/x${name} EROFS\n`,
    );
    expect(run(where, ["write", "/etc-like/file", "/sealed/file"]).stdout).toBe(
      "/etc-like/file EROFS\n/sealed/file EROFS\n",
    );
    expect(existsSync(join(data, name))).toBe(true);
  });

  it("(Y06) shows the folders of the host that the root has nothing in", () => {
    const folders = ["/opt", "/mnt", "/media", "/srv", "/home", "/var"];
    expect(run(tree, ["read", ...folders]).stdout).toBe(folders.map((path) => `${path} ok\n`).join(""));
  });

  it("a bind that this host has no place for is told in one line", async () => {
    const where = await at("no place", { bind: ["/tmp:/etc/no such place"] });
    expect(run(where, [])).toMatchObject({
      status: 126,
      stdout: "",
      stderr: "flatwrap: /usr/bin/probe: this host has no /etc/no such place\n",
    });
  });

  it("a bind that this host does not have is told in one line", async () => {
    const where = await at("missing", { bind: ["/no such:/x"] });
    expect(run(where, [])).toMatchObject({
      status: 126,
      stdout: "",
      stderr: "flatwrap: /usr/bin/probe: this host has no /no such\n",
    });
  });
});

describe("a wrapped program that calls another one", () => {
  // The second wrapper runs by the first root's own sh, unshare, nsenter, mount and bwrap.
  const outer = join(folder, "outer");
  beforeAll(async () => {
    await stage(
      debianRoot(["dash", "coreutils", "util-linux", "mount", "bubblewrap"]),
      outer,
      ["/bin/dash:/usr/bin/outer"],
      {},
      "outer",
    );
  });
  const pairs = modes.flatMap((first) =>
    modes
      .filter(({ isUser }) => isUser === first.isUser)
      .map((second): [string, string, Mode, Mode] => [first.name, second.via, first, second]),
  );
  it.each(pairs)("%s, then %s", (_, __, first, second) => {
    const set = Object.entries(second.env).map((pair) => pair.join("="));
    const unset = Object.keys(first.env).filter((name) => !(name in second.env));
    const inner = `unset ${unset.join(" ")} _; ${set.map((word) => `export ${word};`).join(" ")} FLATWRAP_ROOT=${tree} exec ${probe}`;
    const ran = runIn(first, [join(outer, "usr/bin/outer"), "-c", inner], { env: { FLATWRAP_ROOT: outer } });
    expect(ran.stderr).toBe("");
    const { uid, gid, cwd } = readReport(ran.stdout);
    expect({ uid, gid, cwd }).toEqual({
      uid: first.isUser ? [user.uid, user.uid] : [0, 0],
      gid: first.isUser ? [user.gid, user.gid] : [0, 0],
      cwd: "/tmp",
    });
  });
});

describe("scripts for whatever names", () => {
  it("(Y11) run and satisfy shellcheck", async () => {
    const odd = join(folder, "odd");
    cpSync(root, odd, { recursive: true, verbatimSymlinks: true });
    const part = fc.string({
      unit: fc.constantFrom(...Array.from("ab '\"$`\\\n;&|*?[]~#!(){}<>%@-\u00e9\u{1f600}")),
      minLength: 1,
      maxLength: 12,
    });
    const names = [...new Set(fc.sample(part, { numRuns: 60, seed: 1 }))].filter(
      (name) => name !== "@" && !/^[.-]/.test(name),
    );
    for (const name of names) symlinkSync("probe", join(odd, "usr/bin", name));
    const escape = (name: string): string => name.replaceAll(":", "\\:");
    const out = join(folder, "odd-tree");
    await stage(
      odd,
      out,
      names.map((name) => `/usr/bin/${escape(name)}`),
      { bind: ["/tmp:/a 'b' $c\n\\d@name@"] },
    );
    const scripts = names.map((name) => join(out, "usr/bin", name));
    const shared = ["enter", "again"].map((name) => join(out, "usr/lib/flixwrap/probe", name));
    const check = spawnSync("shellcheck", ["-f", "gcc", ...shared, ...scripts], {
      encoding: "utf8",
    });
    expect(check.stdout).toBe("");
    for (const [index, script] of scripts.entries()) {
      const ran = runIn(modes[index % modes.length]!, [script, "x"], { env: { FLATWRAP_ROOT: out } });
      expect(ran.stderr).toBe("");
      expect(readReport(ran.stdout).argv).toEqual([Buffer.from(`/usr/bin/${names[index]}`).toString("latin1"), "x"]);
    }
  });
});

describe("only what is needed", () => {
  let debian: string;
  beforeAll(() => {
    debian = debianRoot(["htop", "git", "vim-tiny"], { configured: true });
  });

  it("(Y10) makes htop of a whole Debian root less than 15 MB, and it runs", async () => {
    const out = join(folder, "htop");
    const exclude = ["/usr/share/{doc,man,locale}/**", "/usr/lib/*/gconv/**"];
    await stage(debian, out, ["/usr/bin/htop"], { onlyNeeded: true, exclude });
    const bytes = Number(execFileSync("du", ["-s", "-B1", out], { encoding: "utf8" }).split("\t")[0]);
    expect(bytes).toBeLessThan(15e6);
    for (const mode of modes) {
      const ran = runIn(mode, [join(out, "usr/bin/htop"), "--version"], { env: { FLATWRAP_ROOT: out } });
      expect(ran.stdout).toMatch(/^htop 3/);
    }
  });
});

describe("smoke tests", () => {
  it("run in every way that the machine allows", async () => {
    const passed = await smokeTestWrapped(tree, ["/usr/bin/probe", "read", "/usr/bin/probe"], quietContext());
    expect(passed).toEqual(["by start", "by unshare", "by bwrap"].map((way) => ({ way, said: "/usr/bin/probe ok" })));
  });

  it("fail when there is no such program", async () => {
    const failing = smokeTestWrapped(tree, ["no-such-program"], quietContext());
    await expect(failing).rejects.toThrow("neither the extension nor PATH has the program to try: no-such-program");
  });

  it("fail with the program, naming the way", async () => {
    const failing = smokeTestWrapped(tree, ["/usr/bin/probe", "exit", "3"], quietContext());
    await expect(failing).rejects.toThrow(
      "in its view of the file system, by start: /usr/bin/probe exit 3: got exit status 3",
    );
  });
});

it.each(modes)("does the same under every shell that may be /bin/sh: $name", (mode) => {
  for (const shell of ["dash", "bash --posix", "busybox sh"]) {
    const { stdout, stderr } = runIn(mode, [...shell.split(" "), probe], { env: { FLATWRAP_ROOT: tree } });
    expect(stderr, shell).toBe("");
    expect(readReport(stdout).uid[0], shell).toBe(mode.isUser ? user.uid : 0);
  }
});
