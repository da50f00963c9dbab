import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ownToken } from "../../../../src/host/process-token.ts";
import { makeCacheFolder } from "../../../../src/oci/cache/folder.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-cache-folder-"));
afterAll(() => rmSync(work, { recursive: true }));

const mine = ownToken();
// The same number, but a process that started with the machine.
const dead = mine.replace(/-\d+-/, "-1-");
const digest = `sha256-${"0".repeat(64)}`;

describe("what a process left in the cache", () => {
  const rows: [what: string, folder: string, name: string, content: string, stays: boolean][] = [
    ["a temporary file of a dead one", "tmp", `${dead}-00`, "x", false],
    ["a temporary file of one at work", "tmp", `${mine}-00`, "x", true],
    ["the lock of a dead one", "locks", digest, dead, false],
    ["the lock of one at work", "locks", digest, mine, true],
    ["a lock that was killed before it said whose it is", "locks", `${dead}-00`, "", false],
    ["a lock that is just being made", "locks", `${mine}-00`, "", true],
  ];
  it.each(rows)("%s", (_, folder, name, content, stays) => {
    const cache = mkdtempSync(join(work, "cache-"));
    makeCacheFolder(cache);
    const path = join(cache, "v1", folder, name);
    writeFileSync(path, content);
    makeCacheFolder(cache);
    expect(existsSync(path)).toBe(stays);
  });
});
