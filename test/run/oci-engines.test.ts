import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { rootPath } from "../../src/core/paths.ts";
import { openImage } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { fingerprint } from "../support/compare-roots.ts";
import { debianRoot } from "../support/debian-root.ts";
import { startEngine } from "../support/engines.ts";
import { scratch } from "../support/program.ts";

const work = scratch();
const isRoot = process.getuid?.() === 0;
/** Configured, as an image has it: apt can install into it. */
const root = isRoot ? debianRoot(["curl"], { configured: true }) : "";

const engines = [
  { kind: "docker", engine: isRoot ? await startEngine("docker") : undefined },
  { kind: "podman", engine: isRoot ? await startEngine("podman") : undefined },
] as const;

describe.each(engines)("a Debian root and $kind itself", ({ kind, engine }) => {
  it.skipIf(engine === undefined)(
    "a package is installed into it; nothing else changes, nothing is left",
    async () => {
      const run = async (commands: readonly string[], keep: (path: string) => boolean): Promise<string[]> => {
        const { rootfs, close } = await openImage(parseReference(`dir:${root}`), {
          context: quietContext({ env: { PATH: process.env.PATH, ...engine!.env } }),
          cacheDir: join(work, "cache"),
          engine: kind,
          run: commands,
        });
        const lines = fingerprint(rootfs, { times: false }).filter((line) => keep(line.split(" ")[0]!));
        expect(rootfs.resolve(rootPath("/.dockerenv"))).toBeUndefined();
        close();
        return lines;
      };
      const before = await run([], () => true);
      // apt's and dpkg's own files change.
      const isKept = (path: string): boolean => !/^\/(var|etc\/ld\.so\.cache|usr\/share|tmp)(\/|$)/.test(path);
      const after = await run(["apt-get update && apt-get install -y b3sum"], isKept);
      const old = new Set(before);
      const changed = after.filter((line) => !old.has(line)).map((line) => line.split(" ").slice(0, 5).join(" "));
      expect(changed).toEqual(["/usr/bin/b3sum file 755 0 0"]);
      const gone = before.map((line) => line.split(" ")[0]!).filter((path) => isKept(path));
      const there = new Set(after.map((line) => line.split(" ")[0]!));
      expect(gone.filter((path) => !there.has(path))).toEqual([]);
      const client = kind === "docker" ? "docker" : "podman --remote";
      expect(engine!.sh(`${client} ps -aq; ${client} images -aq`)).toBe("");
    },
    180_000,
  );
});
