import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath, rootPath } from "../../src/core/paths.ts";
import { finishPlan } from "../../src/extension/finish.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import { stageTree } from "../../src/pack/stage.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "units-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unit = (exec: string) =>
  `[Unit]\nDescription=A\n[Service]\nExecStart=${exec}\n[Install]\nWantedBy=multi-user.target\n`;

/** What systemd-analyze says of the units in a root that holds the extension and a few targets. */
function verify(root: string, names: readonly string[]): { status: number | null; said: string } {
  const units = names.map((name) => join(root, "usr/lib/systemd/system", name));
  const run = spawnSync("systemd-analyze", ["verify", `--root=${root}`, "--man=no", ...units], { encoding: "utf8" });
  return { status: run.status, said: run.stderr };
}

test("systemd-analyze finds every unit and drop-in in order, and would not have before the programs were moved", async () => {
  const source = memoryRootfs({
    "/usr/sbin/a": { content: "#!/bin/sh\n", mode: 0o755 },
    "/usr/lib/systemd/system/a.service": unit("-/usr/sbin/a -x"),
    "/etc/a.conf": "x",
  });
  const program = {
    kind: "copy",
    from: source.lookup(rootPath("/usr/sbin/a"))!,
    to: extPath("/usr/bin/a"),
    why: "entry",
  } as const;
  const plan = finishPlan(
    { source, actions: [program], warnings: [] },
    { release: { name: "a" }, manifest: { flixwrap: "0" }, enable: ["a.service"], etc: ["/etc/a.conf"] },
  );
  const root = join(folder, "root");
  await stageTree(buildTree(plan, { name: "a" }), root, 0, quietContext({ env: process.env }));
  // What is the host's: the targets, and the tools of the setup service.
  const system = join(root, "usr/lib/systemd/system");
  for (const target of ["multi-user", "sysinit", "basic", "shutdown"])
    writeFileSync(join(system, `${target}.target`), "[Unit]\n");
  for (const tool of ["systemd-tmpfiles", "systemd-sysusers"])
    writeFileSync(join(root, "usr/bin", tool), "", { mode: 0o755 });
  const names = ["a.service", "a-setup.service", "multi-user.target"];
  const { status, said } = verify(root, names);
  expect(said.split("\n").filter((line) => /a\.service|a-setup|10-a/.test(line))).toEqual([]);
  expect(status).toBe(0);

  // The same unit as the image has it: systemd finds no program.
  mkdirSync(join(folder, "bare/usr/lib/systemd/system"), { recursive: true });
  writeFileSync(join(folder, "bare/usr/lib/systemd/system/a.service"), unit("/usr/sbin/a"));
  expect(verify(join(folder, "bare"), ["a.service"]).said).toContain("/usr/sbin/a");
});
