import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { main } from "../support/program.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-within-"));
afterAll(() => rmSync(work, { recursive: true }));

test.each(["explain", "flix"])(
  "%s of a folder opens nothing of the host: no library, no cache, no configuration",
  (command) => {
    const root = join(work, command);
    execFileSync("cp", ["-al", debianRoot(["coreutils", "curl", "libc-bin"]), root]);
    // Links that lead out of the root when the kernel follows them.
    rmSync(join(root, "lib64"), { recursive: true });
    symlinkSync("/usr/lib64", join(root, "lib64"));
    execFileSync("cp", ["-a", "/usr/lib64", join(root, "usr/")]);
    rmSync(join(root, "etc/ld.so.conf.d"), { recursive: true, force: true });
    symlinkSync("/etc/alternatives", join(root, "etc/ld.so.conf.d"));
    symlinkSync("../../../../../../../usr/bin/curl", join(root, "usr/bin/out"));

    const request =
      command === "flix" ? ["--dry-run", `dir:${root}`, "tool", "/usr/bin/out"] : [`dir:${root}`, "/usr/bin/out"];
    const opened = trace([command, ...request]);
    const usual = new Set(trace(["--version"]));
    const outside = opened.filter((path) => !usual.has(path) && !path.startsWith(`${root}/`) && path !== root);
    expect(opened.filter((path) => path.startsWith(`${root}/usr/lib/`)).length).toBeGreaterThan(20);
    // Node itself looks at the host's time zone and resolver.
    const concerned = /\.so(\.|$)|^\/(usr\/)?(local\/)?(lib|bin|sbin)|^\/opt|^\/etc\/(ld\.|alternatives)/;
    expect(outside.filter((path) => concerned.test(path))).toEqual([]);
  },
);

/** Paths that our process (none of its children) asked the kernel for. */
function trace(args: readonly string[]): string[] {
  const log = join(work, "trace");
  const { status, stderr } = spawnSync(
    "strace",
    ["-f", "-y", "-qq", "-e", "trace=%file,execve", "-e", "signal=none", "-o", log, process.execPath, main, ...args],
    { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: "/nonexistent" } },
  );
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const children = new Set<string>();
  let started = false;
  return readFileSync(log, "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, pid = "", call = "", path = ""] = /^(\d+) +(\w+)\((?:[^"]*, )?"([^"]*)"/.exec(line) ?? [];
      if (call === "execve" && started) children.add(pid);
      started ||= call === "execve";
      return children.has(pid) || path === "" || call === "execve" ? [] : [path];
    });
}
