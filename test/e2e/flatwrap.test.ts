import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
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
