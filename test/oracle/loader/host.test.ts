import { spawnSync } from "node:child_process";
import { readdirSync, realpathSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { type ElfFile, isElf, readElf } from "../../../src/elf/file.ts";
import { checkSymbols, checkVersions, resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";

/** Every n-th program of this machine; 1 checks all of them (8 seconds, and a minute for symbols). */
const step = Number(process.env["FLIXWRAP_LOADER_STEP"] ?? 8);

const rootfs = openFolder("/");
const programs: readonly ElfFile[] = ["/usr/bin", "/usr/sbin"]
  .flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`))
  .flatMap((path) => {
    const node = rootfs.resolve(rootPath(path));
    if (node?.type !== "file") return [];
    const source = rootfs.open(node);
    return isElf(source) ? [readElf(source, node.path)] : [];
  })
  .filter(
    ({ interpreter, name }, index, all) => interpreter && all.findIndex((other) => other.name === name) === index,
  );
const every = (n: number): readonly ElfFile[] => programs.filter((_, index) => index % n === 0);

describe("programs of this machine, against their loader", () => {
  test(`what is mapped, in which order: every ${step}th of ${programs.length}`, () => {
    expect(programs.length).toBeGreaterThan(100);
    for (const { name, interpreter } of every(step)) {
      // `--list` ends at the first library that is missing; tracing tells of all. musl's knows nothing else.
      const [options, env] = interpreter!.includes("musl") ? [["--list"], {}] : [[], { LD_TRACE_LOADED_OBJECTS: "1" }];
      const { stdout } = spawnSync(interpreter!, [...options, name], { encoding: "utf8", env });
      const live = [...stdout.matchAll(/^\t(?:\S+ => )?(\/.+?) \(0x/gm)].map(([, path]) => realpathSync(path!));
      const liveMissing = [...stdout.matchAll(/^\t(\S+) => not found$/gm)].map(([, missing]) => missing);
      const closure = resolveClosure(rootfs, [rootPath(name)], { dlopen: "none" });
      const loader = realpathSync(interpreter!);
      const ours = closure.processes[0]!.objects.slice(1);
      expect({ name, found: ours.filter((path) => path !== loader) }).toEqual({
        name,
        found: live.filter((path) => path !== loader),
      });
      expect([...new Set(closure.missing.map((missing) => missing.name))]).toEqual([...new Set(liveMissing)]);
    }
  });

  test(`versions and symbols, as ldd -r: every ${step * 8}th`, () => {
    for (const { name, interpreter } of every(step * 8)) {
      if (interpreter!.includes("musl")) continue;
      const { stdout, stderr } = spawnSync("ldd", ["-r", name], { encoding: "utf8" });
      const live = [...(stdout + stderr).matchAll(/undefined symbol: ([^\s,]+)/g)].map(([, symbol]) => symbol!);
      const closure = resolveClosure(rootfs, [rootPath(name)], { dlopen: "none" });
      const symbols = checkSymbols(closure).map(({ symbol }) => symbol);
      expect({ name, symbols: [...new Set(symbols)].toSorted() }).toEqual({
        name,
        symbols: [...new Set(live)].toSorted(),
      });
      expect(checkVersions(closure)).toEqual([]);
    }
  });
});
