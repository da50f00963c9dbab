import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { quietContext } from "../../../src/core/context.ts";
import { writeOutput } from "../../../src/host/output.ts";
import { withTempFolder } from "../../../src/host/temp.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "output-test-"));
});
afterEach(() => {
  execFileSync("chmod", ["-R", "u+rwx", folder]);
  rmSync(folder, { recursive: true });
});

const file = (path: string, isOurs = (head: Uint8Array) => Buffer.from(head).toString().startsWith("ours")) => ({
  path,
  kind: "file" as const,
  isOurs: ({ head }: { head: Uint8Array }) => isOurs(head),
});
const put = (text: string) => async (temporary: string) => writeFileSync(temporary, text);

describe("a file as output", () => {
  test("appears whole and alone; one of ours and an empty one are replaced", async () => {
    const path = join(folder, "x.raw");
    for (const text of ["ours 1", "ours 2", ""]) {
      await writeOutput(file(path), put(text));
      expect(readFileSync(path, "utf8")).toBe(text);
      expect(readdirSync(folder)).toEqual(["x.raw"]);
    }
    await writeOutput(file(path), put("ours"));
  });

  test("a failing writer leaves the old one and nothing else", async () => {
    const path = join(folder, "x.raw");
    writeFileSync(path, "ours");
    const failing = writeOutput(file(path), async (temporary) => {
      writeFileSync(temporary, "half");
      throw new Error("boom");
    });
    await expect(failing).rejects.toThrow("boom");
    expect(readFileSync(path, "utf8")).toBe("ours");
    expect(readdirSync(folder)).toEqual(["x.raw"]);
  });

  const foreign: [string, (path: string) => void][] = [
    ["a file of another kind", (path) => writeFileSync(path, "thesis")],
    ["a folder", (path) => mkdirSync(path)],
    ["a symlink", (path) => symlinkSync("/etc/passwd", path)],
    ["a dangling symlink", (path) => symlinkSync("nowhere", path)],
    ["a fifo", (path) => execFileSync("mkfifo", [path])],
  ];
  test.each(foreign)("%s is kept", async (_, make) => {
    const path = join(folder, "x.raw");
    make(path);
    let wrote = false;
    const writing = writeOutput(file(path), async () => {
      wrote = true;
    });
    await expect(writing).rejects.toMatchObject({ code: "host-output-exists" });
    expect(wrote).toBe(false);
    expect(readdirSync(folder)).toEqual(["x.raw"]);
  });

  test("a missing folder and a file as a folder are told before any work", async () => {
    writeFileSync(join(folder, "f"), "");
    for (const parent of ["none", "f"])
      await expect(writeOutput(file(join(folder, parent, "x.raw")), put("x"))).rejects.toMatchObject({
        code: "host-output-folder",
      });
  });

  test("a read-only file system is told in one line", async () => {
    await expect(writeOutput(file("/proc/x.raw"), put("x"))).rejects.toMatchObject({
      message: expect.not.stringContaining("\n") as string,
    });
  });

  test("a name of 255 bytes still has room for its temporary name", async () => {
    const name = `${"n".repeat(251)}.raw`;
    await writeOutput(file(join(folder, name)), put("ours"));
    expect(readdirSync(folder)).toEqual([name]);
  });
});

describe("a folder as output", () => {
  const make = (text: string) => async (temporary: string) => {
    mkdirSync(temporary);
    writeFileSync(join(temporary, "file"), text);
  };
  const output = (isOurs: boolean) => ({ path: join(folder, "x"), kind: "folder" as const, isOurs: () => isOurs });

  test("replaces ours, keeps what is foreign", async () => {
    await writeOutput(output(false), make("1"));
    await writeOutput(output(true), make("2"));
    expect(readFileSync(join(folder, "x/file"), "utf8")).toBe("2");
    await expect(writeOutput(output(false), make("3"))).rejects.toMatchObject({ code: "host-output-exists" });
    expect(readFileSync(join(folder, "x/file"), "utf8")).toBe("2");
    expect(readdirSync(folder)).toEqual(["x"]);
  });

  test("a file in its place is kept", async () => {
    writeFileSync(join(folder, "x"), "text");
    await expect(writeOutput(output(true), make("1"))).rejects.toMatchObject({ code: "host-output-exists" });
    expect(readFileSync(join(folder, "x"), "utf8")).toBe("text");
  });
});

describe("temporary folders", () => {
  test("are gone after success and after failure, even with closed folders in them", async () => {
    const context = quietContext({ env: { TMPDIR: folder } });
    const fill = async (path: string) => {
      expect(existsSync(path)).toBe(true);
      mkdirSync(join(path, "closed"));
      writeFileSync(join(path, "closed/x"), "");
      chmodSync(join(path, "closed"), 0o500);
    };
    await withTempFolder(context, fill);
    await expect(
      withTempFolder(context, async (path) => {
        await fill(path);
        throw new Error("boom");
      }),
    ).rejects.toThrow("boom");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a TMPDIR that is not there is told", async () => {
    const context = quietContext({ env: { TMPDIR: join(folder, "none") } });
    await expect(withTempFolder(context, async () => undefined)).rejects.toMatchObject({ code: "host-temp-folder" });
  });
});
