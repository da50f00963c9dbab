import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { quietContext } from "../../../src/core/context.ts";
import { FlixwrapError } from "../../../src/core/errors.ts";
import { runCommand, tryCommand } from "../../../src/host/command.ts";

const context = quietContext({ env: { PATH: process.env["PATH"], LANG: "de_DE.UTF-8", SECRET: "x" } });
const shell = (script: string) => ({ tool: "sh", package: "dash", purpose: "test", args: ["-c", script] });

describe("runCommand", () => {
  test("returns what the program said, in a fixed environment", async () => {
    const { stdout, stderr } = await runCommand(shell("env; echo to-err >&2"), context);
    expect(stderr).toBe("to-err");
    const names = stdout.split("\n").map((line) => line.split("=")[0]);
    expect(names).not.toContain("SECRET");
    expect(names).not.toContain("LANG");
    expect(stdout).toContain("LC_ALL=C\n");
    expect(stdout).toContain("TZ=UTC");
    expect(stdout).toMatch(/PATH=.*:\/usr\/sbin/);
  });

  test("feeds a stream and bytes", async () => {
    for (const stdin of [Readable.from([Buffer.from("a"), Buffer.from("b")]), Buffer.from("ab")])
      expect((await runCommand({ ...shell("cat"), stdin }, context)).stdout).toBe("ab");
  });

  test("a missing tool names its purpose and its package", async () => {
    const command = { tool: "no-such-tool-x", package: "x-tools", purpose: "do x", args: [] };
    await expect(runCommand(command, context)).rejects.toMatchObject({
      code: "host-tool-missing",
      message: "no-such-tool-x is required to do x; install package x-tools",
    });
  });

  test("a failing tool shows its status and last lines", async () => {
    const error = await runCommand(shell("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3"), context).catch(
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(FlixwrapError);
    expect(error).toMatchObject({
      code: "host-tool-failed",
      facts: { got: "exit status 3", items: ["line 3", "line 4", "line 5", "line 6", "line 7"] },
    });
  });

  test("an endless talker is bounded and its last words are kept", async () => {
    const { stdout } = await tryCommand(shell("yes | head -c 3000000; echo end"), context);
    expect(stdout.length).toBeLessThanOrEqual(65_536);
    expect(stdout.endsWith("end")).toBe(true);
  });

  test("a program that stops reading does not hang its feeder", async () => {
    const endless = Readable.from(
      (function* () {
        for (let i = 0; i < 1000; i++) yield Buffer.alloc(65_536);
      })(),
    );
    const result = await tryCommand({ ...shell("head -c 10 >/dev/null; exit 4"), stdin: endless }, context);
    expect(result.status).toBe(4);
  });

  test("an error of the feeding stream is the error told", async () => {
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from("x");
        throw new FlixwrapError("oci-test", { what: "damaged layer" });
      })(),
    );
    await expect(runCommand({ ...shell("cat >/dev/null"), stdin: broken }, context)).rejects.toMatchObject({
      code: "oci-test",
    });
  });

  test("the signal ends the program at once", async () => {
    const controller = new AbortController();
    const started = Date.now();
    setTimeout(() => controller.abort(), 100);
    await expect(runCommand(shell("sleep 30"), { ...context, signal: controller.signal })).rejects.toMatchObject({
      code: "interrupted",
    });
    expect(Date.now() - started).toBeLessThan(5000);
    await expect(runCommand(shell("true"), { ...context, signal: controller.signal })).rejects.toMatchObject({
      code: "interrupted",
    });
  });

  test("a time limit", async () => {
    await expect(runCommand({ ...shell("sleep 30"), timeout: 200 }, context)).rejects.toMatchObject({
      code: "host-tool-timeout",
    });
  });

  test("a program ended by a signal", async () => {
    const result = await tryCommand(shell("kill -9 $$"), context);
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain("SIGKILL");
  });
});
