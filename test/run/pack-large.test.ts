import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const folder = scratch();

test("a file of more than 2 GB is packed in bounded memory, and keeps its size and its holes", () => {
  const size = 2 ** 31 + 4097;
  mkdirSync(join(folder, "tree/usr/share/large"), { recursive: true });
  const file = join(folder, "tree/usr/share/large/holes");
  writeFileSync(file, "begin");
  truncateSync(file, size);
  sh(`printf end >>${file}`);
  // The program's own memory, without that of mksquashfs, which takes a quarter of the machine's.
  const hook = join(folder, "hook.cjs");
  const said = join(folder, "peak");
  writeFileSync(
    hook,
    `process.on("exit", () => require("fs").writeFileSync(${JSON.stringify(said)}, String(process.resourceUsage().maxRSS)))`,
  );
  const output = join(folder, "large.raw");
  const args = ["pack", "--quiet", "--compression", "lz4", "-o", output, join(folder, "tree"), "large"];
  const run = flixwrap(args, { env: { NODE_OPTIONS: `--require ${hook}` } });
  expect(run).toMatchObject({ status: 0, stderr: "" });
  // 102 MB measured; the file is twenty times as large.
  expect(Number(readFileSync(said, "utf8"))).toBeLessThan(300 << 10);
  expect(sh(`unsquashfs -lln ${output} usr/share/large/holes | awk '/holes/ {print $1, $2, $3}'`).trim()).toBe(
    `-rw-r--r-- 0/0 ${size + 3}`,
  );
  expect(sh(`unsquashfs -cat ${output} usr/share/large/holes | tail -c 5 | tr '\\0' .`)).toBe("..end");
  rmSync(output);
});
