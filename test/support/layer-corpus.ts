import { base256, endMarker, entry, file, folder, gnuLong, hardlink, marker, pax, symlink, tar } from "./tar-bytes.ts";

/**
 * Layers as attackers, old tools and odd tools write them, each with the one outcome this program has. Rows are
 * those of the table the project keeps of what nine tar and image tools do with them.
 */
export interface CorpusCase {
  readonly row: number;
  readonly title: string;
  /** Archives, lowest layer first. */
  readonly layers: readonly Buffer[];
  /** Every node except the root (see `describeTree`), or the code of the error. */
  readonly outcome: readonly string[] | `oci-${string}`;
}

/** `victim`: absolute path of a folder beside the root that must not be touched. */
export function layerCorpus(victim: string): CorpusCase[] {
  const cases: CorpusCase[] = [];
  const unsafe = "oci-unsafe-layer";
  const damaged = "oci-bad-tar";
  const add = (row: number, title: string, layers: readonly Buffer[], outcome: CorpusCase["outcome"]): void => {
    cases.push({ row, title, layers, outcome });
  };
  /** Lines for every folder on the way to a path. */
  const folders = (path: string): string[] =>
    path
      .split("/")
      .slice(1)
      .map((_, n, parts) => `d /${parts.slice(0, n + 1).join("/")}`);
  const one = (...entries: Buffer[]): Buffer[] => [tar(...entries)];
  const long = "n".repeat(200);

  // Names
  for (const name of ["../victim/f", "/../victim/f", "a/../../victim/f"]) {
    add(1, `a file ${name}`, one(file(name, "x")), unsafe);
  }
  add(2, "an absolute name", one(file("/abs/f", "x")), ["d /abs", "f /abs/f x"]);
  add(2, "the absolute name of the host's folder", one(file(`${victim}/f`, "x")), [
    ...folders(victim),
    `f ${victim}/f x`,
  ]);
  add(3, "a folder ..", one(folder("..", { mode: 0o777 })), unsafe);
  add(4, "the root itself", one(folder("./", { mode: 0o700, uid: 5 }), file("./f", "x")), [
    "d / mode=700 owner=5:0",
    "f /f x",
  ]);
  add(5, "the root as a link", one(symlink("./", victim), file("f", "x")), unsafe);
  add(5, "the root as a file", one(file(".", ""), file("f", "x")), unsafe);
  add(6, "an empty name", one(file("", "x")), unsafe);

  // Links in parents
  add(7, "through a link up and out", one(symlink("l", "../victim"), file("l/f", "x")), [
    "l /l -> ../victim",
    "d /victim",
    "f /victim/f x",
  ]);
  add(8, "through a link to the host's folder", one(symlink("l", victim), file("l/f", "x")), [
    `l /l -> ${victim}`,
    ...folders(victim),
    `f ${victim}/f x`,
  ]);
  add(
    9,
    "through two links",
    one(
      folder("inner"),
      symlink("inner/go_up", ".."),
      symlink("inner/go_up/escape", "../victim"),
      file("inner/go_up/escape/f", "x"),
    ),
    ["l /escape -> ../victim", "d /inner", "l /inner/go_up -> ..", "d /victim", "f /victim/f x"],
  );
  add(
    10,
    "merged /usr",
    [tar(folder("usr/lib"), symlink("lib", "usr/lib")), tar(file("lib/sys/f", "x"))],
    ["l /lib -> usr/lib", "d /usr", "d /usr/lib", "d /usr/lib/sys", "f /usr/lib/sys/f x"],
  );
  add(
    11,
    "/var/run",
    [tar(folder("run"), symlink("var/run", "/run")), tar(file("var/run/x/f", "x"))],
    ["d /run", "d /run/x", "f /run/x/f x", "d /var", "l /var/run -> /run"],
  );
  add(
    12,
    "through a lower layer's link to the host",
    [tar(symlink("l", victim)), tar(file("l/f", "x"))],
    [`l /l -> ${victim}`, ...folders(victim), `f ${victim}/f x`],
  );
  add(
    13,
    "through a lower layer's link up and out",
    [tar(symlink("l", "../victim")), tar(file("l/f", "x"))],
    ["l /l -> ../victim", "d /victim", "f /victim/f x"],
  );
  add(14, "a file over a link", one(symlink("l", `${victim}/hello`), file("l", "x")), ["f /l x"]);
  add(14, "a file over a lower link", [tar(symlink("l", `${victim}/hello`)), tar(file("l", "x"))], ["f /l x"]);
  add(
    15,
    "a folder over a link to the host",
    [tar(symlink("l", victim)), tar(folder("l/"), file("l/f", "x"))],
    ["d /l", "f /l/f x"],
  );
  add(
    15,
    "a folder over a link",
    [tar(folder("t"), symlink("l", "t")), tar(folder("l/"), file("l/f", "x"))],
    ["d /l", "f /l/f x", "d /t"],
  );
  add(
    16,
    "a folder that becomes a link",
    [tar(folder("e")), tar(symlink("e", victim)), tar(file("e/f", "x"))],
    [`l /e -> ${victim}`, ...folders(victim), `f ${victim}/f x`],
  );

  // Hard links
  for (const goal of ["../victim/hello", "/../victim/hello", `${victim}/hello`, "../root-evil/secret"]) {
    add(goal.includes("evil") ? 27 : 17, `a hard link to ${goal}`, one(hardlink("h", goal)), unsafe);
  }
  add(18, "a hard link to an absolute path", one(file("usr/a", "x"), hardlink("h", "/usr/a")), [
    "f /h x",
    "d /usr",
    "f /usr/a x =/h",
  ]);
  add(19, "a hard link through a link", one(symlink("s", "../victim"), hardlink("h", "s/hello")), unsafe);
  add(19, "a hard link through a lower link", [tar(symlink("s", victim)), tar(hardlink("h", "s/hello"))], unsafe);
  add(
    20,
    "a file over a hard link to a link",
    one(symlink("l", `${victim}/hello`), hardlink("h", "l"), file("h", "x")),
    ["f /h x", `l /l -> ${victim}/hello`],
  );
  add(21, "a hard link to a link", one(file("t", "x"), symlink("l", "t"), hardlink("h", "l", { mode: 0o777 })), [
    "l /h -> t",
    "l /l -> t =/h",
    "f /t x",
  ]);
  add(22, "a hard link to a folder", one(folder("d"), hardlink("h", "d")), unsafe);
  add(22, "a hard link to the host's folder", one(hardlink("h", "../victim"), file("h/f", "x")), unsafe);
  add(23, "a hard link to itself", one(file("a", "x"), hardlink("a", "a")), ["f /a x"]);
  add(24, "a hard link before its goal", one(hardlink("h", "a"), file("a", "x")), unsafe);
  add(25, "a hard link to a lower file", [tar(file("a", "x")), tar(hardlink("h", "a"))], ["f /a x", "f /h x =/a"]);
  add(
    26,
    "a hard link to what is whited out",
    [tar(file("t", "x")), tar(hardlink("h", "t"), marker(".wh.t"))],
    ["f /h x"],
  );
  add(
    28,
    "a linked file rewritten",
    [tar(file("t", "old"), hardlink("h", "t")), tar(file("t", "new"))],
    ["f /h old", "f /t new"],
  );

  // Whiteouts
  add(29, "a whiteout without a name", one(marker(".wh.")), unsafe);
  for (const name of ["e/.wh..", "e/.wh..."]) {
    add(30, name, [tar(folder("e"), file("e/f", "x")), tar(marker(name))], unsafe);
  }
  add(
    31,
    "a file and a folder whited out",
    [tar(file("a", "x"), folder("b"), file("b/c", "x"), file("k", "x")), tar(marker(".wh.a"), marker(".wh.b"))],
    ["f /k x"],
  );
  add(
    32,
    "a whiteout after the new file",
    [tar(file("a", "lower")), tar(file("a", "upper"), marker(".wh.a"))],
    ["f /a upper"],
  );
  add(
    33,
    "a whiteout after the new folder",
    [tar(folder("x"), file("x/lo", "x")), tar(folder("x"), file("x/up", "x"), marker(".wh.x"))],
    ["d /x", "f /x/up x"],
  );
  add(
    34,
    "a whiteout before the new folder",
    [tar(folder("a"), file("a/lo", "x")), tar(marker(".wh.a"), folder("a"), file("a/up", "x"))],
    ["d /a", "f /a/up x"],
  );
  const opaque = ".wh..wh..opq";
  const lower = tar(folder("e"), file("e/lo", "x"), folder("e/d"), file("e/d/lo", "x"));
  add(35, "opaque first", [lower, tar(folder("e"), marker(`e/${opaque}`), file("e/up", "x"))], ["d /e", "f /e/up x"]);
  add(35, "opaque last", [lower, tar(folder("e"), file("e/up", "x"), marker(`e/${opaque}`))], ["d /e", "f /e/up x"]);
  add(35, "opaque root", [lower, tar(file("up", "x"), marker(opaque))], ["f /up x"]);
  add(
    36,
    "opaque with implicit parents",
    [lower, tar(file("e/d/up", "x"), marker(`e/${opaque}`))],
    ["d /e", "d /e/d", "f /e/d/up x"],
  );
  add(37, "opaque in a missing folder", one(marker(`no/${opaque}`), file("f", "x")), ["f /f x"]);
  add(37, "a whiteout of nothing", one(marker(".wh.no"), marker("no/.wh.no"), file("f", "x")), ["f /f x"]);
  for (const [goal, name] of [
    ["../victim", ".wh.hello"],
    [victim, ".wh.hello"],
    [victim, opaque],
  ] as const) {
    add(
      38,
      `${name} through a link to ${goal}`,
      [tar(symlink("l", goal)), tar(marker(`l/${name}`))],
      [`l /l -> ${goal}`],
    );
  }
  add(39, "a link whited out", [tar(file("t", "x"), symlink("l", "t")), tar(marker(".wh.l"))], ["f /t x"]);
  add(
    39,
    "a folder with a link to the host whited out",
    [tar(folder("e"), symlink("e/l", victim)), tar(marker(".wh.e"))],
    [],
  );
  add(40, "a whiteout outside", one(marker("../.wh.victim")), unsafe);
  add(
    41,
    "AUFS' own files",
    one(
      folder(".wh..wh.plnk"),
      file(".wh..wh.plnk/1.2", "x"),
      hardlink("a", ".wh..wh.plnk/1.2"),
      marker(".wh..wh.aufs"),
    ),
    ["f /a x"],
  );
  add(42, "a whiteout as a folder", [tar(folder("e"), file("e/f", "x")), tar(file(".wh.e/f", "x"))], unsafe);
  add(43, "a whiteout that is a folder", [tar(file("a", "x")), tar(folder(".wh.a"))], []);
  add(43, "a whiteout with content", [tar(file("a", "x")), tar(file(".wh.a", "data"))], []);

  // Types
  add(44, "a character device", one(entry({ name: "dev/null", type: "3", mode: 0o666, device: [1, 3] })), [
    "d /dev",
    "c /dev/null 1:3 mode=666",
  ]);
  add(44, "a block device", one(entry({ name: "b", type: "4", mode: 0o660, device: [259, 300] })), [
    "b /b 259:300 mode=660",
  ]);
  add(44, "a fifo", one(entry({ name: "p", type: "6", mode: 0o600 })), ["p /p mode=600"]);
  add(45, "a contiguous file", one(entry({ name: "f", type: "7", content: "x" })), ["f /f x"]);
  add(46, "an unknown type", one(entry({ name: "f", type: "Z" })), damaged);
  add(
    47,
    "a v7 header",
    one(entry({ name: "d/", type: "\0", magic: "" }), entry({ name: "d/f", type: "\0", content: "x", magic: "" })),
    ["d /d mode=644", "f /d/f x"],
  );
  add(47, "type NUL", one(entry({ name: "f", type: "\0", content: "x" })), ["f /f x"]);
  add(48, "a folder with a size", one(folder("d", { size: 512 }), file("f", "x")), ["d /d", "f /f x"]);
  add(48, "a link with a size", one(symlink("l", "f", { size: 512 }), file("f", "x")), ["f /f x", "l /l -> f"]);
  add(49, "a GNU sparse file", one(sparseOld()), [`f /sp ${"\0".repeat(512)}data`]);
  add(49, "a pax sparse file", one(...sparsePax("1\n512\n4\n", 516)), [`f /sp ${"\0".repeat(512)}data`]);
  add(49, "a sparse map of a million parts", one(...sparsePax("1000000\n", 516)), damaged);
  add(49, "a sparse map beyond the file", one(...sparsePax("1\n512\n4\n", 514)), damaged);
  add(49, "a sparse map that overlaps", one(...sparsePax("2\n0\n4\n2\n4\n", 516)), damaged);
  add(49, "a sparse file of 2^62 bytes", one(...sparsePax("1\n512\n4\n", 2 ** 62)), damaged);
  add(50, "a file as a folder", one(file("n", "x"), file("n/foo/bar", "x")), unsafe);
  add(51, "a name twice", one(file("a", "one"), file("a", "two"), folder("b"), file("b", "f")), ["f /a two", "f /b f"]);

  // Attributes
  add(52, "a folder without write permission", one(folder("d", { mode: 0o555 }), file("d/f", "x")), [
    "d /d mode=555",
    "f /d/f x",
  ]);
  add(
    53,
    "setuid, setgid, sticky",
    one(file("u", "x", { mode: 0o4755 }), file("g", "x", { mode: 0o2755, gid: 42 }), folder("t", { mode: 0o1777 })),
    ["f /g x mode=2755 owner=0:42", "d /t mode=1777", "f /u x mode=4755"],
  );
  add(54, "missing parents", one(file("a/b/c", "x")), ["d /a", "d /a/b", "f /a/b/c x"]);
  add(55, "pax path", one(pax({ path: `a/${long}` }), file("short", "x")), ["d /a", `f /a/${long} x`]);
  add(55, "pax linkpath", one(pax({ linkpath: `a/${long}` }), symlink("l", "short")), [`l /l -> a/${long}`]);
  add(55, "pax size", one(pax({ size: "3" }), file("f", "abc", { size: 0 }), file("g", "x")), ["f /f abc", "f /g x"]);
  add(56, "pax path outside", one(pax({ path: "../victim/f" }), file("f", "x")), unsafe);
  add(56, "GNU long name outside", one(gnuLong("L", "../victim/f"), file("f", "x")), unsafe);
  const inner = entry({ name: "inner", content: "" });
  add(
    57,
    "pax size over a hidden header",
    one(pax({ size: "1024" }), entry({ name: "f", content: Buffer.concat([inner, inner]), size: 0 })),
    [`f /f ${hashed(Buffer.concat([inner, inner]))}`],
  );
  add(58, "pax size before a long name", one(pax({ size: "3" }), gnuLong("L", long), file("f", "abc", { size: 0 })), [
    `f /${long} abc`,
  ]);
  add(59, "a global path", one(pax({ path: "evil" }, "g"), file("f", "x")), damaged);
  add(60, "git's global comment", one(pax({ comment: "0123" }, "g"), file("f", "x")), ["f /f x"]);
  add(
    61,
    "a pax record too long",
    one(entry({ name: "x", type: "x", content: "99 path=evil\n" }), file("f", "x")),
    damaged,
  );
  add(
    61,
    "a pax record too short",
    one(entry({ name: "x", type: "x", content: "5 path=evil\n" }), file("f", "x")),
    damaged,
  );
  add(62, "NUL in a pax path", one(pax({ path: "a\0b" }), file("f", "x")), damaged);
  add(63, "a fraction of a second", one(pax({ mtime: "1.250000001" }), file("f", "x")), ["f /f x mtime=1.250000001"]);
  add(63, "before 1970", one(pax({ mtime: "-1.75" }), file("f", "x")), ["f /f x mtime=-2.250000000"]);
  add(64, "an xattr with NUL", one(pax({ "SCHILY.xattr.user.k": Buffer.of(0x61, 0, 0xff, 0x0a) }), file("f", "x")), [
    "f /f x user.k=6100ff0a",
  ]);
  const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
  add(
    64,
    "a file capability",
    one(pax({ "SCHILY.xattr.security.capability": capability }), file("f", "x", { mode: 0o755 })),
    [`f /f x mode=755 security.capability=${capability.toString("hex")}`],
  );
  add(65, "an overlay's xattr", one(pax({ "SCHILY.xattr.trusted.overlay.opaque": "y" }), folder("d")), ["d /d"]);
  add(66, "a large pax uid", one(pax({ uid: "4294967294" }), file("f", "x")), ["f /f x owner=4294967294:0"]);
  add(66, "a large base-256 uid", one(file("f", "x", { uidField: base256(3_000_000_000n, 8) })), [
    "f /f x owner=3000000000:0",
  ]);
  add(67, "a GNU long name", one(gnuLong("L", `a/${long}`), file("short", "x")), ["d /a", `f /a/${long} x`]);
  add(67, "a GNU long link", one(gnuLong("K", `a/${long}`), symlink("l", "short")), [`l /l -> a/${long}`]);
  add(67, "a ustar prefix", one(file("f", "x", { prefix: "pre/fix" })), ["d /pre", "d /pre/fix", "f /pre/fix/f x"]);
  add(
    67,
    "GNU's times where ustar has a prefix",
    one(file("f", "x", { magic: "ustar  \0", patch: [[345, Buffer.from("14000000000\0")]] })),
    ["f /f x"],
  );
  add(68, "a name that is no UTF-8", one(file(Buffer.from("caf\xe9", "latin1"), "x")), ["f /caf\udce9 x"]);
  add(69, "a name with newline and escape", one(file("a\n\u001b[31mb", "x")), ["f /a\n\u001b[31mb x"]);
  add(70, "a name with a backslash", one(file("a\\b", "x")), ["f /a\\b x"]);
  add(71, "a name of 256 bytes", one(pax({ path: "n".repeat(256) }), file("f", "x")), unsafe);
  add(71, "a path of 4096 bytes", one(pax({ path: "n/".repeat(2047) + "fx" }), file("f", "x")), damaged);
  const deep = "d/".repeat(1000);
  add(72, "1000 folders inside each other", one(pax({ path: `${deep}f` }), file("f", "x")), [
    ...folders(`/${deep.slice(0, -1)}`),
    `f /${deep}f x`,
  ]);
  add(73, "a loop of links", one(symlink("a", "b"), symlink("b", "a"), file("a/f", "x")), "oci-link-loop");
  add(74, "a link to nothing", one(symlink("l", "")), unsafe);

  // The archive itself
  add(75, "a negative size", one(file("f", "x", { size: base256(-512n, 12) })), damaged);
  add(75, "a size of 2^60", one(file("f", "x", { size: base256(2n ** 60n, 12) })), damaged);
  add(75, "a size of 2^50", one(file("f", "x", { size: base256(2n ** 50n, 12) })), damaged);
  add(76, "a wrong checksum", one(file("f", "x", { checksum: 1 })), damaged);
  add(77, "a truncated body", [entry({ name: "f", content: "x".repeat(1000) }).subarray(0, 1024)], damaged);
  add(77, "a truncated header", [Buffer.concat([file("f", "x"), file("g").subarray(0, 300)])], damaged);
  add(77, "a header that ends the archive", [pax({ path: "x" })], damaged);
  add(78, "no end marker", [file("f", "x")], ["f /f x"]);
  add(79, "one zero block in the middle", [tar(file("f", "x"), Buffer.alloc(512), file("g", "x"))], damaged);
  add(80, "junk after the end", [Buffer.concat([tar(file("f", "x")), Buffer.from("junk".repeat(500))])], ["f /f x"]);
  add(80, "entries after the end", [Buffer.concat([tar(file("f", "x")), tar(file("g", "x"))])], ["f /f x"]);
  add(81, "an empty archive", [endMarker], []);
  add(81, "an empty layer", [Buffer.alloc(0)], []);
  add(89, "a pax header of 1 GB", one(entry({ name: "x", type: "x", content: "x", size: 1 << 30 })), damaged);
  add(89, "a long name of 4 GB", one(entry({ name: "x", type: "L", content: "x", size: 2 ** 32 })), damaged);
  return cases;
}

/** Long contents in `describeTree` are shown by length and first bytes. */
export const hashed = (content: Buffer): string =>
  content.length > 600 ? `#${content.length}` : content.toString("latin1");

/** One part of 4 bytes at offset 512; GNU's old format, type S. */
function sparseOld(): Buffer {
  const twelve = (value: number): Buffer => Buffer.from(`${value.toString(8).padStart(11, "0")}\0`);
  return entry({
    name: "sp",
    type: "S",
    content: "data",
    magic: "ustar  \0",
    patch: [
      [386, Buffer.concat([twelve(512), twelve(4)])],
      [483, twelve(516)],
    ],
  });
}

/** GNU's pax format 1.0: the map stands in the first block of the content. */
function sparsePax(map: string, size: number): Buffer[] {
  const records = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "sp",
    "GNU.sparse.realsize": BigInt(size).toString(),
  };
  const block = Buffer.alloc(512);
  block.write(map);
  return [pax(records), file("GNUSparseFile.0/sp", Buffer.concat([block, Buffer.from("data")]))];
}
