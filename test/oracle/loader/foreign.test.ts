import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";
import { wordClosure } from "./listing.ts";
import { runtimes } from "./runtimes.ts";

const native = new FixtureRoots("glibc");
afterAll(() => native.remove());

/** Every way to find a library, one each; the library for another machine is passed over. */
const nodesOf = (triplet: string, platform = "unknown"): Readonly<Record<string, FixtureNode>> => ({
  "/bin/p": {
    needs: ["liba.so", "libb.so", "libd.so", "libe.so", "libf.so", "libg.so", "libc.so.6", "libnone.so"],
    rpath: "/opt/$LIB:/opt/${PLATFORM}:$ORIGIN/../srv",
  },
  "/opt/lib/liba.so": {},
  [`/opt/lib/${triplet}/liba.so`]: {},
  [`/opt/${platform}/libb.so`]: { needs: ["libh.so"] },
  "/srv/libd.so": { edit: (bytes) => bytes.writeUInt16BE(0x3e3e, 18) },
  [`/lib/${triplet}/libd.so`]: {},
  [`/usr/lib/${triplet}/libe.so`]: {},
  "/lib/libf.so": {},
  "/usr/lib/libg.so": {},
  "/srv/libh.so": {},
});

describe.each([
  { name: "aarch64", machine: 183, triplet: "aarch64-linux-gnu", platform: "aarch64" },
  { name: "armhf", machine: 40, triplet: "arm-linux-gnueabihf", platform: undefined },
  { name: "s390x", machine: 22, triplet: "s390x-linux-gnu", platform: undefined },
] as const)("a root for $name", ({ name, machine, triplet, platform }) => {
  const foreign = new FixtureRoots(name);
  afterAll(() => foreign.remove());
  const nodes = nodesOf(triplet, platform);

  test("finds the same as its own loader under qemu", () => {
    const root = foreign.build(nodes);
    const live = foreign.list(root, "/bin/p");
    // Without a platform that is known, one library is not found, nor what it needs.
    expect(live.lines.length).toBe(platform === undefined ? 8 : 9);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")]);
    expect(wordClosure(closure).toSorted()).toEqual(live.lines.toSorted());
  });

  test("beside programs of this machine, each with its own loader and libraries", () => {
    const root = native.build({ "/usr/bin/native": { needs: ["liba.so", "libc.so.6"], runpath: "/opt/lib:/srv" } });
    foreign.buildInto(root, { ...nodes, "/srv/liba.so": {} });
    const closure = resolveClosure(openFolder(root), [rootPath("/usr/bin/native"), rootPath("/bin/p")]);
    expect(closure.processes.map(({ main, loader }) => [main, loader])).toEqual([
      ["/usr/bin/native", runtimes.glibc.interpreter],
      ["/bin/p", runtimes[name].interpreter],
    ]);
    const found = closure.objects
      .filter(({ role, elf }) => role === "library" && elf.machine === machine)
      .map(({ node }) => node.path);
    expect(found).toContain(`/lib/${triplet}/libc.so.6`);
    expect(closure.missing.map(({ name: missing, neededBy }) => `${missing} ${neededBy}`)).toContain(
      "liba.so /usr/bin/native",
    );
  });
});
