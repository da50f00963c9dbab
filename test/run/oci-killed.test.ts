import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { flixwrap, main, scratch } from "../support/program.ts";
import { startRegistry } from "../support/registry.ts";

/** `scripts/endure` asks for a hundred. */
const rounds = Number(process.env.FLIXWRAP_KILLS ?? 6);
const work = scratch();
const folders = { out: join(work, "out"), tmp: join(work, "tmp"), cache: join(work, "cache") };
for (const folder of [folders.out, folders.tmp]) mkdirSync(folder);

const limit = 60_000 + rounds * 10_000;
it.each(["squashfs", "dir", "erofs"])(
  "a conversion to %s killed at any moment is mended by the next",
  { timeout: limit },
  async (format) => {
    const registry = await startRegistry();
    const image = registry.push(debianRoot(["b3sum"]), "tools/b3sum:latest");
    const output = join(folders.out, "b3sum.raw");
    const words = [
      "flix",
      "--cache-dir",
      folders.cache,
      "--format",
      format,
      "-o",
      output,
      image,
      "b3sum",
      "/usr/bin/b3sum",
    ];
    const env = { TMPDIR: folders.tmp };
    const fresh = (): void => {
      rmSync(folders.cache, { recursive: true, force: true });
      rmSync(output, { recursive: true, force: true });
    };
    const result = (): string =>
      format === "dir"
        ? readdirSync(output, { recursive: true }).sort().join("\n")
        : createHash("sha256").update(readFileSync(output)).digest("hex");

    // How long it takes, from nothing, and what comes of it.
    fresh();
    let start = performance.now();
    expect(flixwrap(words, { env })).toMatchObject({ status: 0 });
    let whole = performance.now() - start;
    const wanted = result();

    let killed = 0;
    for (let tries = 1; killed < rounds; tries++) {
      expect(tries).toBeLessThan(rounds * 20);
      // Every third one goes on with what the killed ones before it have left.
      if (killed % 3 === 0) fresh();
      start = performance.now();
      const child = spawn(process.execPath, [main, ...words], {
        stdio: "ignore",
        env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env },
      });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, Math.random() * whole))]);
      child.kill("SIGKILL");
      await ended;
      if (child.signalCode === null) {
        // It was quicker than the one before: neighbours come and go.
        whole = Math.min(whole, performance.now() - start);
        continue;
      }
      killed += 1;
      if (killed % 3 !== 0) continue;
      const { status, stderr } = flixwrap(words, { env });
      expect(stderr).not.toMatch(/^flix: /m);
      expect(status).toBe(0);
      expect(result()).toBe(wanted);
      const left = ["tmp", "locks"].flatMap((name) => readdirSync(join(folders.cache, "v1", name)));
      expect([...left, ...readdirSync(folders.tmp)]).toEqual([]);
      expect(readdirSync(folders.out)).toEqual(["b3sum.raw"]);
      const verified = flixwrap(["cache", "verify", "--cache-dir", folders.cache]);
      expect(verified).toMatchObject({ status: 0, stdout: expect.stringMatching(/^[1-9]\d* checked, 0 damaged/) });
    }
  },
);
