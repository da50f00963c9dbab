import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../../src/core/context.ts";
import { runIsolated } from "../../../src/host/isolate.ts";

/** Lists what it sees: the root folder, its environment, whether /dev/null, /tmp and /usr can be written. */
const probe = `
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <net/if.h>
extern char **environ;
static void list(const char *dir) {
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) if (e->d_name[0] != '.') printf("%s %s\\n", dir, e->d_name);
}
int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "fail")) { fprintf(stderr, "no good\\n"); return 7; }
  if (argc > 1 && !strcmp(argv[1], "hang")) { pause(); }
  list("/"); list("/tmp");
  for (char **e = environ; *e; e++) printf("env %s\\n", *e);
  printf("null %d\\n", open("/dev/null", O_WRONLY) >= 0);
  printf("tmp %d\\n", open("/tmp/x", O_WRONLY | O_CREAT, 0600) >= 0);
  printf("usr %d\\n", open("/usr/x", O_WRONLY | O_CREAT, 0600) >= 0);
  struct if_nameindex *i = if_nameindex();
  for (; i && i->if_name; i++) printf("if %s\\n", i->if_name);
  return 0;
}`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "isolate-test-"));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "usr/bin"), { recursive: true });
  mkdirSync(join(folder, "etc"));
  writeFileSync(join(folder, "probe.c"), probe);
  execFileSync("gcc", ["-static", "-o", join(folder, "usr/bin/probe"), join(folder, "probe.c")]);
});
afterAll(() => rmSync(folder, { recursive: true }));

const context = quietContext({ env: { PATH: process.env["PATH"], HOST_SECRET: "x" } });

test("shows only the extension, /proc, /dev and an empty /tmp", async () => {
  const run = await runIsolated(folder, ["probe"], { env: { GIVEN: "y" } }, context);
  expect(run.status).toBe(0);
  const lines = run.stdout.split("\n");
  expect(new Set(lines.filter((line) => line.startsWith("/ ")))).toEqual(
    new Set(["/ dev", "/ proc", "/ tmp", "/ usr"]),
  );
  expect(lines.filter((line) => line.startsWith("/tmp "))).toEqual([]);
  const variables = lines.filter((line) => line.startsWith("env ")).map((line) => line.slice(4).split("=")[0]);
  expect(new Set(variables)).toEqual(new Set(["GIVEN", "HOME", "PATH", "PWD"]));
  expect(lines).toEqual(expect.arrayContaining(["null 1", "tmp 1", "usr 0", "if lo"]));
  expect(lines.filter((line) => line.startsWith("if "))).toEqual(["if lo"]);
});

test("a failing one tells its status and its last words", async () => {
  expect(await runIsolated(folder, ["probe", "fail"], {}, context)).toMatchObject({ status: 7, stderr: "no good" });
  expect((await runIsolated(folder, ["/usr/bin/none"], {}, context)).status).not.toBe(0);
});

test("a hanging one is ended", async () => {
  await expect(runIsolated(folder, ["probe", "hang"], { timeout: 500 }, context)).rejects.toMatchObject({
    code: "host-tool-timeout",
  });
});

test("without bwrap the message names it and its package", async () => {
  const bare = quietContext({ env: { PATH: "/nonexistent" } });
  const running = runIsolated(folder, ["probe"], {}, bare);
  await expect(running).rejects.toMatchObject({ code: "host-tool-missing", message: /bwrap .* bubblewrap/ });
});
