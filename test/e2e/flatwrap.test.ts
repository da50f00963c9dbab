import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { flixwrap, scratch, sh } from "../support/program.ts";

test("flatwrap makes an extension of a program with its unit, tried in every way this machine allows", () => {
  const work = scratch();
  const root = debianRoot(["nginx-light"]);
  const unit = sh(`cd ${root} && find . -path '*/systemd/system/nginx.service'`).trim().slice(1);
  const extension = join(work, "web");
  const args = ["flatwrap", "--smoke", "nginx -v", "--format", "dir", "-o", extension, `dir:${root}`, "web"];
  const { status, stderr } = flixwrap([...args, "/usr/sbin/nginx", `${unit}:/usr/lib/systemd/system/nginx.service`], {
    env: { ETCMAP: "chroot" },
  });
  for (const way of ["start", "unshare", "bwrap"]) {
    expect(stderr).toMatch(new RegExp(`^smoke +nginx -v, by ${way}: nginx version`, "m"));
  }
  expect(status).toBe(0);
  // The service has the image's root, so its unit keeps the image's paths.
  expect(readFileSync(join(extension, "usr/lib/systemd/system/nginx.service"), "utf8")).toBe(
    readFileSync(join(root, unit), "utf8"),
  );
  expect(sh(`head -n 1 ${extension}/usr/bin/nginx`)).toBe("#!/bin/sh\n");
  // From a folder that is there inside too: the checkout may lie in one that is not, which the wrapper rightly tells.
  expect(sh(`cd / && FLATWRAP_ROOT=${extension} ${extension}/usr/bin/nginx -v 2>&1`)).toMatch(/^nginx version/);
});

test("a smoke test that fails in the program's own view stops the build", () => {
  const work = scratch();
  const args = ["flatwrap", "--quiet", "--smoke", "nginx -c /nowhere", "-o", join(work, "x.raw")];
  const { status, stderr } = flixwrap([...args, `dir:${debianRoot(["nginx-light"])}`, "x", "/usr/sbin/nginx"]);
  expect(stderr).toMatch(/the program fails in its view of the file system.*nginx -c \/nowhere/);
  expect(status).toBe(1);
  expect(sh(`ls -A ${work}`)).toBe("");
});

describe("wrong input ends in one clear line, and leaves nothing behind", () => {
  const work = scratch();
  const image = join(work, "image");
  const units = "/usr/lib/systemd/system";
  beforeAll(() => {
    for (const folder of ["usr/bin", "usr/share/d", `.${units}`, "out"]) {
      mkdirSync(join(image, folder), { recursive: true });
    }
    writeFileSync(join(image, "usr/bin/p"), "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(join(image, "usr/share/d/f"), "");
    writeFileSync(join(image, `.${units}/broken.service`), "[Service\nExecStart=\n");
    symlinkSync("loop", join(image, "usr/bin/loop"));
    sh(`mkfifo ${image}/usr/bin/fifo`);
    mkdirSync(join(work, "out"));
  });

  const p = "/usr/bin/p";
  it.each<[string, string[], number, RegExp]>([
    ["an empty name", ["", p], 1, /not a name for an extension: \(empty\)/],
    ["a path as the name", ["../x", p], 1, /not a name for an extension: \.\.\/x: got a path/],
    ["a name with a new line", ["a\nb", p], 1, /not a name for an extension: a\\x0ab/],
    ["a name with a dash", ["--", "-x", p], 1, /not a name for an extension: -x/],
    ["a long name", ["x".repeat(300), p], 1, /got 300 characters/],
    ["an empty path", ["x", ""], 1, /cannot read the entry: got nothing, wanted PATH or SOURCE:TARGET/],
    ["a relative path", ["x", "usr/bin/p"], 1, /cannot read the entry: got usr\/bin\/p/],
    ["a colon in a name", ["x", "/usr/bin/c:d"], 1, /cannot read the entry/],
    ["no target", ["x", `${p}:`], 1, /cannot read the entry/],
    ["a target outside", ["x", `${p}:/etc/p`], 1, /can only hold \/usr and \/opt: got \/etc\/p; write \/usr\/bin\/p:/],
    ["a target that leaves", ["x", `${p}:/usr/../etc/p`], 1, /can only hold \/usr and \/opt: got \/etc\/p/],
    ["all of it", ["x", "/"], 1, /can only hold \/usr and \/opt: got \/; name the files/],
    ["a missing path", ["x", "/usr/bin/no"], 1, /no such path in the image: .*got \/usr\/bin\/no\n/],
    ["a circle of links", ["x", "/usr/bin/loop"], 1, /too many links in a path of the image: \/usr\/bin\/loop/],
    ["a pipe", ["x", "/usr/bin/fifo"], 1, /cannot ship: \/usr\/bin\/fifo: got a fifo/],
    ["two entries for one place", ["x", p, `/usr/share/d:${p}`], 1, /several things want the same place/],
    ["a folder of the host", ["x", "/usr/bin"], 1, /\/usr\/bin: is a folder on every host: .*\[shadowed-folder\]/],
    [
      "a program in its place",
      ["x", `${p}:/usr/libexec/`],
      1,
      /\/usr\/libexec: is a folder on every host: .*this file hides/,
    ],
    ["a program below a program", ["--prefix", p, "x", p], 1, /stands in its way, and in that of \d+ more/],
    ["a bad --bind", ["--bind", "", "x", p], 2, /option '--bind .*wanted a value, got nothing/],
    ["--bind over everything", ["--bind", "/a:/", "x", p], 2, /cannot read --bind: got \/a:\//],
    ["--bind over the program", ["--bind", `/a:${p}`, "x", p], 1, /the program could not see this entry itself/],
    ["a relative --host", ["--host", "dev", "x", p], 2, /--host \(or the variable HOST\) takes absolute paths/],
    ["--etc of neither", ["--etc", "both", "x", p], 2, /'both' is invalid. Allowed choices are host, chroot/],
    ["--etc of an image without", ["--etc", "chroot", "x", p], 1, /the image has no \/etc that the program could see/],
    ["--exclude of the program", ["--exclude", "/usr/bin", "x", p], 1, /the program could not see this entry itself/],
    ["--only-needed", ["--only-needed", "x", p], 1, /reads the package database .*, and the image has none/],
    ["a prefix outside", ["--prefix", "/etc", "x", p], 1, /the prefix must lie in \/usr or \/opt: got \/etc/],
    ["an empty --smoke", ["--smoke", "", "x", p], 2, /option '--smoke .*wanted a value, got nothing/],
    ["a failing --smoke", ["--smoke", "no-such", "x", p], 1, /neither the extension nor PATH has the program/],
  ])("%s", (_, args, status, line) => {
    const ran = flixwrap(["flatwrap", "--quiet", `dir:${image}`, ...args], { cwd: join(work, "out") });
    expect(ran.stderr).toMatch(line);
    const told = ran.stderr.split("\n").filter((text) => text !== "" && !/^( {2}|warning|\(--help)/.test(text));
    expect(told, ran.stderr).toHaveLength(1);
    expect(told[0]).toMatch(/^(flatwrap|error): /);
    expect(ran).toMatchObject({ status, stdout: "" });
    expect(sh(`ls -A ${work}/out`)).toBe("");
  });

  it("a broken unit is shipped as it is, with a warning", () => {
    const ran = flixwrap([
      "flatwrap",
      "--quiet",
      "-o",
      join(work, "x.raw"),
      `dir:${image}`,
      "x",
      `${units}/broken.service`,
    ]);
    expect(ran).toMatchObject({ status: 0, stdout: `${work}/x.raw\n` });
    expect(ran.stderr).toMatch(
      /warning {2}\S+broken\.service: neither a section nor KEY=VALUE: \[Service \[unit-syntax\]\n/,
    );
  });
});
