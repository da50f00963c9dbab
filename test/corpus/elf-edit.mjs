/**
 * The corpus run of docs/elf.md: interpreter, run path and NODEFLIB on many files of a Debian system, and what the loader, the
 * linters and the strippers say before and after. Every fifth file also carries a payload and is edited 200 times in turns.
 *
 *     npm run build && node test/corpus/elf-edit.mjs [--count 1000] [--seed 1] [--tool /usr/bin/patchelf] [--root /usr] [--gdb]
 *
 * Without --tool our engine edits in process; with it, that command does with patchelf's options.
 */
import { execFile, execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { listElfFiles, sample } from "./elf-files.mjs";

const dist = process.env.FLIXWRAP_DIST ?? new URL("../../dist", import.meta.url).pathname;
const { memorySource } = await import(`${dist}/core/bytes.js`);
const { planEdits, readElf } = await import(`${dist}/elf/index.js`);
const run = promisify(execFile);

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    tool: { type: "string" },
    root: { type: "string", multiple: true, default: ["/usr"] },
    gdb: { type: "boolean", default: false },
    only: { type: "string" },
    keep: { type: "boolean", default: false },
  },
});

const edits = {
  interpreter: "/usr/local/NAME/ld-linux-x86-64.so.2",
  runPath: { kind: "runpath", value: "/usr/local/NAME:/usr/local/NAME/extralibs" },
  noDefaultLib: true,
};

const folder = mkdtempSync(join(tmpdir(), "flixwrap-corpus-"));
const isDynamic = (path) => {
  try {
    const elf = readElf(memorySource(readFileSync(path)), path);
    return elf.isDynamic && elf.needed.length + (elf.interpreter === undefined ? 0 : 1) > 0;
  } catch {
    return false;
  }
};
const all = values.only ? [values.only] : listElfFiles(values.root);
const files = sample(all, values.only ? 1 : all.length, Number(values.seed))
  .filter(isDynamic)
  .slice(0, Number(values.count));

const results = [];
const queue = [...files.entries()];
await Promise.all([0, 1].map(worker));
if (!values.keep) rmSync(folder, { recursive: true });
report();

async function worker() {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const [index, path] = next;
    const result = { path };
    results.push(result);
    try {
      await measure(path, join(folder, String(index)), result);
    } catch (error) {
      result.failed = `measure: ${error.stack}`;
    }
    if (!values.keep)
      for (const end of ["", ".strip", ".llvm", ".before", ".before-llvm", ".debug", ".linked"])
        rmSync(join(folder, index + end), { force: true });
  }
}

async function measure(path, copy, result) {
  const bytes = readFileSync(path);
  const elf = readElf(memorySource(bytes), path);
  if (!(await edit(path, copy, bytes, elf, result))) return;
  result.growth = statSync(copy).size - bytes.length;
  const after = readElf(memorySource(readFileSync(copy)), copy);
  result.headers = checkHeaders(elf, after);
  const libraries = libraryPath(elf, path);
  const [listed, wanted] = [await list(copy, libraries), await list(path, libraries)];
  if (listed !== wanted) result.loader = difference(wanted, listed);
  const [lintBefore, lintAfter] = await Promise.all([lint(path), lint(copy)]);
  result.lint = lintAfter.filter((line) => !lintBefore.includes(line));
  const [readBefore, readAfter] = await Promise.all([complaints(path), complaints(copy)]);
  result.readelf = readAfter.filter((line) => !readBefore.includes(line));
  result.strip = await strip("strip", copy, `${copy}.strip`, libraries, wanted);
  result.llvm = await strip("llvm-strip", copy, `${copy}.llvm`, libraries, wanted);
  if (result.llvm !== undefined) {
    const before = await strip("llvm-strip", path, `${copy}.before`, libraries, wanted);
    if (before !== undefined) result.llvm = undefined;
  }
  result.link = await link(copy, libraries, wanted);
  if (result.link !== undefined && (await link(path, libraries, wanted, copy)) !== undefined) result.link = undefined;
  if (values.tool === undefined && results.indexOf(result) % 5 === 0) {
    result.payload = carry(path, bytes, elf);
    result.turns = takeTurns(path, bytes, elf);
  }
  if (values.gdb) {
    const { stdout, stderr } = await tool("gdb", ["-batch", "-nx", "-ex", "info files", copy]);
    if (`${stdout}${stderr}`.includes("outside of ELF segments")) result.gdb = true;
  }
}

async function edit(path, copy, bytes, elf, result) {
  if (values.tool === undefined) {
    let patch;
    const start = process.hrtime.bigint();
    try {
      patch = planEdits(elf, wantedOf(elf));
      result.milliseconds = Number(process.hrtime.bigint() - start) / 1e6;
    } catch (error) {
      result.refused = error.name === "FlixwrapError" ? error.message : `BUG ${error.stack}`;
      return false;
    }
    result.ladder = patch.growth;
    writeFileSync(copy, apply(bytes, patch), { mode: 0o755 });
    return true;
  }
  copyFileSync(path, copy);
  try {
    if (elf.interpreter !== undefined)
      execFileSync(values.tool, ["--set-interpreter", edits.interpreter, copy], { stdio: "pipe" });
    execFileSync(values.tool, ["--no-default-lib", "--set-rpath", edits.runPath.value, copy], { stdio: "pipe" });
  } catch (error) {
    result.refused =
      String(error.stderr ?? error)
        .trim()
        .split("\n")
        .pop() || `status ${error.status ?? error.signal}`;
    return false;
  }
  return true;
}

/** What must not have changed (criteria 5, 10 and 11). */
function checkHeaders(before, after) {
  const found = [];
  const plain = (phdr) =>
    JSON.stringify(phdr, (_, value) => (typeof value === "bigint" ? `0x${value.toString(16)}` : value));
  const of = (elf, type) => elf.segments.filter((one) => one.type === type);
  for (const type of [2, 7, 0x6474e551, 0x6474e552]) {
    if (of(before, type).map(plain).join() !== of(after, type).map(plain).join())
      found.push(`segment ${type.toString(16)} changed`);
  }
  const [oldLoads, newLoads] = [of(before, 1), of(after, 1)];
  if (newLoads.length - oldLoads.length > 1) found.push("more than one PT_LOAD added");
  if (newLoads.length > oldLoads.length) found.push("LOAD added");
  oldLoads.forEach((load, index) => {
    if (load.align !== newLoads[index].align || load.vaddr !== newLoads[index].vaddr)
      found.push("a PT_LOAD's place or alignment changed");
  });
  for (let index = 1; index < newLoads.length; index++) {
    if (newLoads[index].vaddr < newLoads[index - 1].vaddr) found.push("PT_LOADs out of order");
  }
  const table = of(after, 6)[0];
  const first = newLoads[0];
  if (table !== undefined && after.header.phoff + first.vaddr - first.offset !== table.vaddr)
    found.push("AT_PHDR of old kernels is wrong");
  const tags = [4, 0x6ffffef5, 6, 12, 13];
  const values_ = (elf) => tags.map((tag) => elf.dynamic.find((entry) => entry.tag === tag)?.value).join();
  if (values_(before) !== values_(after)) found.push("hash, symbol table or init moved");
  return found;
}

function libraryPath(elf, path) {
  const own = (elf.runpath ?? elf.rpath ?? "").split(":").filter(Boolean);
  const origin = own.map((entry) => entry.replaceAll(/\$\{?ORIGIN\}?/g, dirname(path)));
  return [...origin, "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"].join(":");
}

async function tool(command, args, options = {}) {
  try {
    return { ...(await run(command, args, { maxBuffer: 1 << 28, ...options })), status: 0 };
  } catch (error) {
    return { stdout: error.stdout ?? "", stderr: error.stderr ?? "", status: error.code ?? error.signal };
  }
}

async function list(path, libraries) {
  const env = { ...process.env, LD_BIND_NOW: "1" };
  const { stdout, stderr, status } = await tool(
    "/lib64/ld-linux-x86-64.so.2",
    ["--library-path", libraries, "--list", path],
    { env },
  );
  const text = stdout + stderr.replaceAll(/^.*?: (?=error while|.*undefined|.*version)/gm, "");
  // The loader goes by the name in PT_INTERP, which is what was edited.
  const lines = text
    .replaceAll(/ \(0x[0-9a-f]+\)/g, "")
    .replaceAll(path, "SELF")
    .split("\n");
  return [...lines.filter((line) => !line.includes("/ld-linux-x86-64.so.2")), `status ${status}`].join("\n");
}

function difference(before, after) {
  const only = (a, b) =>
    a
      .split("\n")
      .filter((line) => !b.split("\n").includes(line))
      .slice(0, 3);
  return `was ${only(before, after).join(" | ")} is ${only(after, before).join(" | ")}`;
}

async function lint(path) {
  const { stdout, stderr } = await tool("eu-elflint", ["--gnu-ld", path]);
  // A header has another number when one before it has gone.
  const text = `${stdout}${stderr}`.replaceAll(/program header entry \d+/g, "program header entry");
  return [...new Set(text.split("\n").filter((line) => line !== "" && line !== "No errors"))];
}

async function complaints(path) {
  const { stderr } = await tool("readelf", ["-aW", path]);
  return [...new Set(stderr.split("\n").map((line) => line.replaceAll(path, "SELF")))].filter(Boolean);
}

async function strip(command, from, to, libraries, wanted) {
  const { stderr, status } = await tool(command, ["-o", to, from]);
  if (status !== 0 || stderr !== "") return `status ${status} ${stderr.replaceAll(from, "SELF").split("\n")[0]}`;
  const listed = await list(to, libraries);
  return listed === wanted ? undefined : `loader: ${difference(wanted, listed)}`;
}

/** Debugging information in a file of its own, and a link to it (`objcopy`). */
async function link(from, libraries, wanted, to = from) {
  const steps = [
    ["--only-keep-debug", from, `${to}.debug`],
    [`--add-gnu-debuglink=${to}.debug`, from, `${to}.linked`],
  ];
  for (const args of steps) {
    const { stderr, status } = await tool("objcopy", args);
    if (status !== 0 || stderr !== "") return `status ${status} ${stderr.replaceAll(from, "SELF").split("\n")[0]}`;
  }
  const listed = await list(`${to}.linked`, libraries);
  return listed === wanted ? undefined : `loader: ${difference(wanted, listed)}`;
}

function wantedOf(elf) {
  const { interpreter: _, ...rest } = edits;
  return elf.interpreter === undefined ? rest : edits;
}

function apply(bytes, { writes, size }) {
  const out = Buffer.alloc(size);
  bytes.copy(out);
  for (const write of writes) out.set(write.bytes, write.offset);
  return out;
}

/** 64 KiB behind the file stay at its end bit for bit, or the edit is refused for them; it is made when they may move. */
function carry(path, bytes, elf) {
  const payload = Buffer.alloc(65_536, "payload");
  const whole = Buffer.concat([bytes, payload]);
  const staysAtEnd = (limits) => {
    const patch = planEdits(readElf(memorySource(whole), path), wantedOf(elf), limits);
    return apply(whole, patch).subarray(-payload.length).equals(payload);
  };
  if (!staysAtEnd({ payload: "move" })) return "lost when it may move";
  try {
    return staysAtEnd({ payload: "refuse" }) ? "kept" : "lost";
  } catch (error) {
    return error.code === "elf-payload" ? "refused" : `refused otherwise: ${error.message}`;
  }
}

/** 200 edits, a short value and a long one in turns: two sizes at most, one more PT_LOAD at most. */
function takeTurns(path, bytes, elf) {
  const loads = (file) => readElf(memorySource(file), path).segments.filter(({ type }) => type === 1).length;
  const sizes = new Set();
  let now = bytes;
  for (let turn = 0; turn < 200; turn++) {
    const value = turn % 2 === 0 ? `/${"long/".repeat(40)}` : "/a";
    const interpreter = turn % 2 === 0 ? edits.interpreter : "/l";
    const wanted = { ...wantedOf(elf), runPath: { kind: "runpath", value } };
    const patch = planEdits(
      readElf(memorySource(now), path),
      elf.interpreter === undefined ? wanted : { ...wanted, interpreter },
    );
    now = apply(now, patch);
    sizes.add(now.length);
  }
  if (sizes.size > 2) return `${sizes.size} sizes`;
  return loads(now) > loads(bytes) + 1 ? "more than one PT_LOAD added" : "stable";
}

function report() {
  const done = results.filter((one) => one.refused === undefined && one.failed === undefined);
  const growths = done.map((one) => one.growth).sort((a, b) => a - b);
  const times = done.flatMap((one) => (one.milliseconds === undefined ? [] : [one.milliseconds])).sort((a, b) => a - b);
  const count = (test) => done.filter(test).length;
  const say = (name, value) => console.log(`${name.padEnd(44)} ${value}`);
  say("files", results.length);
  say("refused", results.filter((one) => one.refused !== undefined).length);
  say("harness failures", results.filter((one) => one.failed !== undefined).length);
  say(
    "loader sees a difference",
    count((one) => one.loader !== undefined),
  );
  say(
    "zero growth",
    `${count((one) => one.growth === 0)} (${((100 * count((one) => one.growth === 0)) / results.length).toFixed(1)} %)`,
  );
  say(
    "growth median / mean / max",
    `${growths[growths.length >> 1]} / ${Math.round(growths.reduce((sum, one) => sum + one, 0) / growths.length)} / ${growths.at(-1)}`,
  );
  say(
    "header rules broken",
    count((one) => one.headers.some((line) => line !== "LOAD added")),
  );
  say(
    "PT_LOAD added",
    count((one) => one.headers.includes("LOAD added")),
  );
  say(
    "new eu-elflint lines in",
    count((one) => one.lint.length > 0),
  );
  say(
    "new readelf complaints in",
    count((one) => one.readelf.length > 0),
  );
  if (values.gdb)
    say(
      "gdb: outside of ELF segments",
      count((one) => one.gdb),
    );
  say(
    "strip breaks or warns",
    count((one) => one.strip !== undefined),
  );
  say(
    "llvm-strip breaks what survived it before",
    count((one) => one.llvm !== undefined),
  );
  say(
    "objcopy breaks what survived it before",
    count((one) => one.link !== undefined),
  );
  for (const [what, key] of [
    ["a payload is", "payload"],
    ["200 edits in turns are", "turns"],
  ]) {
    const answers = done.flatMap((one) => one[key] ?? []);
    for (const answer of new Set(answers)) say(`${what} ${answer}`, answers.filter((one) => one === answer).length);
  }
  if (times.length > 0)
    say("plan, milliseconds median / max", `${times[times.length >> 1].toFixed(2)} / ${times.at(-1).toFixed(1)}`);
  for (const rung of ["none", "in-place", "slack", "note", "headers", "table"]) {
    if (values.tool === undefined)
      say(
        `  ladder: ${rung}`,
        count((one) => one.ladder === rung),
      );
  }
  for (const one of results) {
    const facts = [
      one.failed,
      one.refused && `refused: ${one.refused}`,
      one.loader && `loader: ${one.loader}`,
      ...(one.headers ?? []).filter((line) => line !== "LOAD added"),
      one.lint?.length ? `lint: ${one.lint.length}: ${one.lint[0]}` : undefined,
      one.readelf?.length ? `readelf: ${one.readelf[0]}` : undefined,
      one.strip && `strip: ${one.strip}`,
      one.llvm && `llvm-strip: ${one.llvm}`,
      one.link && `objcopy: ${one.link}`,
      one.payload && !["kept", "refused"].includes(one.payload) && `payload: ${one.payload}`,
      one.turns && one.turns !== "stable" && `turns: ${one.turns}`,
      one.gdb && "gdb",
    ].filter(Boolean);
    if (facts.length > 0) console.log(`${one.path}\n    ${facts.join("\n    ")}`);
  }
}
