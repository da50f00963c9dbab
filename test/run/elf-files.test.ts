import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { flixwrap, main, scratch, sh } from "../support/program.ts";

/** What the commands do to files: replaced whole with all their attributes, or left alone. */
const folder = scratch();
const hash = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

function copyOf(program: string, name: string): string {
  const path = join(folder, name);
  copyFileSync(program, path);
  return path;
}

const edit = (...args: string[]) => flixwrap(["elf", "edit", ...args]);

describe("a file that is edited", () => {
  it("keeps mode, owner, times and extended attributes", () => {
    const path = copyOf("/usr/bin/env", "attributes");
    chownSync(path, 1234, 2345);
    chmodSync(path, 0o4751);
    sh(`setcap cap_net_raw+ep ${path}; setfattr -n user.note -v kept ${path}`);
    utimesSync(path, 1_500_000_000, 1_600_000_000.123456);
    const told = () => sh(`stat -c '%a %u %g %Y %y' ${path}; getcap ${path}; getfattr -d -m - ${path} 2>/dev/null`);
    const before = told();
    expect(before).toContain("4751 1234 2345 1600000000");
    expect(before).toContain("cap_net_raw=ep");
    expect(edit("--runpath", "/some/where", path)).toMatchObject({ status: 0, stderr: "" });
    expect(sh(`readelf -d ${path}`)).toContain("[/some/where]");
    expect(told()).toBe(before);
  });

  it("is not touched when there is nothing to change", () => {
    const path = copyOf("/usr/bin/env", "unchanged");
    edit("--runpath", "/a", path);
    const { ino, mtimeMs, ctimeMs } = statSync(path);
    expect(edit("--runpath", "/a", "--no-executable-stack", path).stdout).toContain("nothing to change");
    expect(flixwrap(["patchelf", "--set-rpath", "/a", path]).status).toBe(0);
    expect(statSync(path)).toMatchObject({ ino, mtimeMs, ctimeMs });
  });

  it("stays behind a link, and its other names keep the old bytes", () => {
    const path = copyOf("/usr/bin/env", "goal");
    symlinkSync("goal", join(folder, "link"));
    linkSync(path, join(folder, "other-name"));
    const before = hash(path);
    expect(edit("--runpath", "/a", join(folder, "link")).status).toBe(0);
    expect(lstatSync(join(folder, "link")).isSymbolicLink()).toBe(true);
    expect(sh(`readelf -d ${path}`)).toContain("[/a]");
    expect(hash(join(folder, "other-name"))).toBe(before);
  });

  it("can be running meanwhile", () => {
    const path = copyOf("/usr/bin/sleep", "running");
    const child = spawn(path, ["30"], { stdio: "ignore" });
    try {
      expect(edit("--runpath", "/a", path)).toMatchObject({ status: 0, stderr: "" });
    } finally {
      child.kill();
    }
  });

  it("is the old one or the new one whenever the program is killed", async () => {
    mkdirSync(join(folder, "kills"));
    const path = copyOf("/usr/bin/env", "kills/killed");
    // A large file takes long enough to be hit in the middle.
    sh(`head -c 30000000 /dev/zero >> ${path}`);
    copyFileSync(path, `${path}.new`);
    edit("--runpath", "/a", `${path}.new`);
    const states = [hash(path), hash(`${path}.new`)];
    expect(states[0]).not.toBe(states[1]);
    for (let delay = 30; delay < 230; delay += 10) {
      copyFileSync(path, `${path}.try`);
      const child = spawn(process.execPath, [main, "patchelf", "--set-rpath", "/a", `${path}.try`], {
        stdio: "ignore",
      });
      const ended = new Promise((settle) => child.on("close", settle));
      setTimeout(() => child.kill("SIGKILL"), delay);
      await ended;
      expect(states).toContain(hash(`${path}.try`));
    }
  });

  it("is written elsewhere with --output, which leaves it alone", () => {
    const path = copyOf("/usr/bin/env", "input");
    const before = hash(path);
    const goal = join(folder, "output");
    expect(edit("--runpath", "/a", "-o", goal, path).status).toBe(0);
    expect(hash(path)).toBe(before);
    expect(statSync(goal).mode & 0o7777).toBe(statSync(path).mode & 0o7777);
    expect(sh(`${goal} echo fine`)).toBe("fine\n");
  });
});

describe("what cannot be done", () => {
  const good = copyOf("/usr/bin/env", "good");
  const text = join(folder, "text");
  writeFileSync(text, "#!/bin/sh\n");
  const short = join(folder, "short");
  writeFileSync(short, readFileSync(good).subarray(0, 200));
  const cut = join(folder, "cut");
  writeFileSync(cut, readFileSync(good).subarray(0, 20_000));
  writeFileSync(join(folder, "static.c"), "int main(void) { return 0; }\n");
  sh(`gcc -static -o ${folder}/static ${folder}/static.c && gcc -c -o ${folder}/object.o ${folder}/static.c`);
  mkdirSync(join(folder, "directory"));
  const locked = copyOf("/usr/bin/env", "locked");

  it.each<[string, string[], string]>([
    ["not an ELF file", ["--runpath", "/a", text], "not an ELF file: TEXT"],
    ["an empty file", ["--runpath", "/a", "/dev/null"], "not a regular file: /dev/null"],
    ["no file", ["--runpath", "/a", join(folder, "nothing")], "nothing: got no such file or folder"],
    ["a folder", ["--runpath", "/a", join(folder, "directory")], "not a regular file"],
    ["half a header", ["--runpath", "/a", short], "program header table out of bounds: SHORT at byte 0x40"],
    ["half a file", ["--runpath", "/a", cut], "out of bounds: CUT at byte 0x"],
    ["a static program", ["--runpath", "/a", join(folder, "static")], "no dynamic section"],
    ["its interpreter", ["--interpreter", "/a", join(folder, "static")], "no interpreter to replace"],
    ["an object file", ["--interpreter", "/a", join(folder, "object.o")], "no interpreter to replace"],
    ["a long interpreter", ["--interpreter", `/${"a".repeat(5000)}`, good], "got 5001 bytes, wanted 1 to 4095 bytes"],
    [
      "too many libraries",
      Array.from({ length: 99 }, (_, index) => ["--add-needed", `lib${index}`])
        .flat()
        .concat(good),
      "no room for another entry",
    ],
    ["several files with one bad", ["--runpath", "/a", good, text], "not an ELF file: TEXT"],
  ])("%s: one clear line, exit 1, nothing changed", (_, args, wanted) => {
    const before = readdirSync(folder)
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => `${name} ${hash(join(folder, name))}`);
    const { status, stdout, stderr } = edit(...args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^elf: [^\n]*\n$/);
    expect(stderr).toContain(wanted.replace("TEXT", text).replace("SHORT", short).replace("CUT", cut));
    const after = readdirSync(folder)
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => `${name} ${hash(join(folder, name))}`);
    expect(after).toEqual(before);
  });

  it("a file that its user may not write: said so, and unchanged", () => {
    chmodSync(locked, 0o555);
    chmodSync(folder, 0o777);
    const before = hash(locked);
    const prefix = ["setpriv", "--reuid", "1501", "--regid", "1501", "--clear-groups"];
    const { status, stderr } = flixwrap(["patchelf", "--set-rpath", "/a", locked], { prefix });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^patchelf: cannot write the file: .*permission denied\n$/);
    expect(hash(locked)).toBe(before);
    expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  it("a disk without room: said so, nothing left", () => {
    const { status, stderr } = spawnSync(
      "unshare",
      [
        "-m",
        "sh",
        "-c",
        `mount -t tmpfs -o size=200k none ${folder}/directory && cp /usr/bin/env ${folder}/directory/ && head -c 150000 /dev/zero > ${folder}/directory/fill; ${process.execPath} ${main} patchelf --set-rpath /a ${folder}/directory/env; status=$?; ls -A ${folder}/directory; exit $status`,
      ],
      { encoding: "utf8" },
    );
    expect(status).toBe(1);
    expect(stderr).toContain("no space left on the disk");
  });
});
