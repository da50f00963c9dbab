import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const extension = join(work, "b3sum");
const root = debianRoot(["b3sum"], { architecture: "arm64" });

beforeAll(() => {
  const { status, stderr } = flixFolder(extension, root, "b3sum", ["/usr/bin/b3sum"]);
  expect(stderr).not.toContain("warning");
  expect(status).toBe(0);
});

test("readelf sees an AArch64 program that leads into the sysroot, and the metadata says arm64", () => {
  const facts = sh(`readelf -hlWd ${extension}/usr/bin/b3sum 2>&1`);
  expect(facts).toMatch(/Machine: +AArch64/);
  expect(facts).toContain("interpreter: /usr/lib/flixwrap/b3sum/lib/ld-linux-aarch64.so.1");
  expect(facts).toMatch(/\(RPATH\).*\/usr\/lib\/flixwrap\/b3sum\/lib\/aarch64-linux-gnu/);
  expect(facts).not.toMatch(/[Ww]arning/);
  expect(readFileSync(join(extension, "usr/lib/extension-release.d/extension-release.b3sum"), "utf8")).toContain(
    "ARCHITECTURE=arm64\n",
  );
});

test("it runs under qemu-user with nothing but the extension, and its checksum is the package's", () => {
  const input = join(extension, "usr/lib/extension-release.d/extension-release.b3sum");
  const qemu = execFileSync("sh", ["-c", "command -v qemu-aarch64-static"], { encoding: "utf8" }).trim();
  // qemu itself is static: beside it, only the extension and the input can be seen.
  const isolated = [
    "bwrap",
    "--ro-bind",
    join(extension, "usr"),
    "/usr",
    "--ro-bind",
    qemu,
    "/qemu",
    "--ro-bind",
    input,
    "/input",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
  ];
  const [command, ...args] = [...isolated, "/qemu", "/usr/bin/b3sum", "--no-names", "/input"];
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(stdout).toBe(sh(`${qemu} -L ${root} ${root}/usr/bin/b3sum --no-names ${input}`));
  expect(status).toBe(0);
  expect(existsSync(join(extension, "usr/lib/flixwrap/b3sum/lib/aarch64-linux-gnu/libc.so.6"))).toBe(true);
});
