import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { extract } from "tar-stream";
import { expect, test } from "vitest";
import { extPath } from "../../../src/core/paths.ts";
import { openTar } from "../../../src/extension/tar.ts";
import { buildTree } from "../../../src/extension/tree.ts";
import { copyPlan, folder, link, write } from "./plans.ts";

/** Entries as tar-stream, a reader that is none of ours, sees them. */
async function readEntries(bytes: Uint8Array): Promise<Record<string, unknown>[]> {
  const entries: Record<string, unknown>[] = [];
  const reader = extract();
  reader.end(bytes);
  for await (const entry of reader) {
    const { name, type, mode, uid, gid, size, mtime, linkname, pax } = entry.header;
    entries.push({
      name,
      type,
      mode,
      uid,
      gid,
      size,
      time: mtime?.getTime(),
      linkname,
      pax,
      body: await buffer(entry),
    });
  }
  return entries;
}

const long = `${"d".repeat(120)}/${"f".repeat(200)}`;

test("every entry comes back as it is in the tree", async () => {
  const tree = buildTree(
    copyPlan({ "/usr/bin/p": { content: "x".repeat(513), mode: 0, uid: 3_000_000, gid: 5 } }, [
      folder("/usr/closed", 0o700),
      link("/usr/bin/l", "../lib/ünï"),
      link("/usr/bin/m", "t".repeat(150)),
      write(`/usr/${long}`, "deep"),
      write("/usr/new\nline", ""),
    ]),
    { name: "t", ownership: "keep" },
  );
  const entries = await readEntries(await buffer(openTar(tree, 86_400)));
  const of = (name: string) => entries.find((entry) => entry["name"] === name);
  const names = [...tree.nodes.keys()].slice(1).map((path) => path.slice(1));
  expect(entries.map((entry) => (entry["name"] as string).replace(/\/$/, ""))).toEqual(names);
  expect(of("usr/bin/p")).toMatchObject({ type: "file", mode: 0, gid: 5, size: 513, time: 86_400_000 });
  expect(of("usr/bin/p")).toMatchObject({ pax: { uid: "3000000" }, body: Buffer.from("x".repeat(513)) });
  expect(of("usr/closed/")).toMatchObject({ type: "directory", mode: 0o700, uid: 0, gid: 0 });
  expect(of("usr/bin/l")).toMatchObject({ type: "symlink", linkname: "../lib/ünï" });
  expect(of("usr/bin/m")).toMatchObject({ linkname: "t".repeat(150) });
  expect(of(`usr/${long}`)).toMatchObject({ body: Buffer.from("deep") });
});

test("binary attributes and names that are no UTF-8 stand there byte for byte", async () => {
  const value = Buffer.from([1, 0, 0, 2, 0, 0xff, 0x0a, 0x80]);
  const tree = buildTree(
    copyPlan({ "/usr/x": { content: "", xattrs: new Map([["security.capability", value]]) } }, [
      write("/usr/\udcff", ""),
    ]),
    { name: "t" },
  );
  const bytes = await buffer(openTar(tree, 0));
  expect(
    bytes.includes(Buffer.concat([Buffer.from(" SCHILY.xattr.security.capability="), value, Buffer.from("\n")])),
  ).toBe(true);
  expect(bytes.includes(Buffer.concat([Buffer.from("14 path=usr/"), Buffer.of(0xff, 0x0a)]))).toBe(true);
});

test("a file shorter or longer than its entry says ends the stream with an error", async () => {
  for (const [said, real] of [
    [10, 9],
    [10, 11],
    [2_000_000, 1_999_999],
    [2_000_000, 2_000_001],
  ] as const) {
    const tree = buildTree(copyPlan({}, [write("/usr/a", "x".repeat(10))]), { name: "t" });
    const node = tree.nodes.get(extPath("/usr/a"))!;
    const content = { size: said, read: () => Buffer.alloc(real), stream: () => Readable.from([Buffer.alloc(real)]) };
    const lying = { ...tree, nodes: new Map(tree.nodes).set(extPath("/usr/a"), { ...node, type: "file", content }) };
    await expect(buffer(openTar(lying, 0))).rejects.toThrow("not as long");
  }
});
