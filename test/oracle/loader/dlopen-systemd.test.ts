import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { dlopenEntriesOf, readNotes } from "../../../src/elf/notes.ts";
import { readElf } from "../../../src/elf/index.ts";
import { debianRoot } from "../../support/debian-root.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-notes-"));
afterAll(() => rmSync(work, { recursive: true }));
const root = debianRoot(["libsystemd-shared", "systemd"], { suite: "trixie" });

/** Another reader: objcopy finds the section, Python takes its notes apart. */
const script = `
import json, struct, sys
data, at, found = sys.stdin.buffer.read(), 0, []
while at < len(data):
    name, size, kind = struct.unpack_from("<III", data, at)
    start = at + 12 + (name + 3) // 4 * 4
    assert data[at + 12:at + 12 + name] == b"FDO\\0" and kind == 0x407c0c0a
    found += json.loads(data[start:start + size].rstrip(b"\\0"))
    at = start + (size + 3) // 4 * 4
json.dump(found, sys.stdout)
`;

interface Entry {
  readonly soname: readonly string[];
  readonly feature?: string;
  readonly description?: string;
  readonly priority?: string;
}

describe("what systemd 257 declares to load by dlopen(3), against another reader", () => {
  test.each([
    { file: "libsystemd.so.0", least: 4 },
    { file: "systemd/libsystemd-shared-257.so", least: 20 },
  ])("$file", ({ file, least }) => {
    const path = join(root, "usr/lib/x86_64-linux-gnu", file);
    const dump = join(work, "notes");
    execFileSync("objcopy", ["--dump-section", `.note.dlopen=${dump}`, path, "/dev/null"]);
    const notes = readFileSync(dump);
    const theirs = JSON.parse(execFileSync("python3", ["-c", script], { input: notes, encoding: "utf8" })) as Entry[];
    expect(theirs.length).toBeGreaterThanOrEqual(least);
    const ours = dlopenEntriesOf(readNotes(readElf(memorySource(readFileSync(path)), path)));
    expect(ours).toEqual(
      theirs.map(({ soname, feature, description, priority = "recommended" }) => ({
        sonames: soname,
        ...(feature !== undefined && { feature }),
        ...(description !== undefined && { description }),
        priority,
      })),
    );
    expect(new Set(ours.map(({ priority }) => priority)).size).toBeGreaterThanOrEqual(2);
  });
});
