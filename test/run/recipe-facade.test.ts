import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { type BakeOptions, bakeRecipe, openPorts, shippedRecipes } from "../../src/recipes/index.ts";
import { leavesOf } from "../support/recipes.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;
beforeAll(async () => {
  mirror = await openWebMirror();
});
afterAll(() => mirror.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flixwrap-facade-"));
  serveUpstream(mirror, upstreams["docker"]!);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** As the command line would call it; the result is the paths in `/usr/bin`. */
const bake = (
  options: Partial<BakeOptions> = {},
  cacheDir = join(folder, "cache"),
  offline = false,
): Promise<string[]> =>
  bakeRecipe(
    "docker",
    "24.0.9",
    { arch: "amd64", tool: "test", lockFile: join(folder, "docker.lock"), ...options },
    openPorts({ cacheDir, mirror: [`*=${mirror.base}`], offline }, quietContext()),
    (plan) =>
      Promise.resolve(leavesOf(buildTree(plan, { name: "docker" })).filter((path) => path.startsWith("/usr/bin/"))),
  );

it("bakes a shipped recipe, and writes its lock when all is done", async () => {
  expect(existsSync(join(shippedRecipes, "docker/recipe.yaml"))).toBe(true);
  expect(await bake()).toHaveLength(8);
  expect(await bake({ arch: "aarch64" })).toHaveLength(8);
  const lock = JSON.parse(readFileSync(join(folder, "docker.lock"), "utf8")) as { architectures: object };
  expect(Object.keys(lock.architectures)).toEqual(["arm64", "x86-64"]);
});

it("writes no lock when packing fails", async () => {
  const ports = openPorts({ cacheDir: join(folder, "cache"), mirror: [`*=${mirror.base}`] }, quietContext());
  const failing = bakeRecipe(
    "docker",
    "24.0.9",
    { arch: "amd64", tool: "test", lockFile: join(folder, "docker.lock") },
    ports,
    () => Promise.reject(new Error("disk full")),
  );
  await expect(failing).rejects.toThrow("disk full");
  expect(existsSync(join(folder, "docker.lock"))).toBe(false);
});

it("is repeated by its lock, offline", async () => {
  await bake();
  mirror.log.length = 0;
  expect(await bake({ locked: true }, undefined, true)).toHaveLength(8);
  expect(mirror.log).toEqual([]);
  await expect(bake({ locked: true, lockFile: join(folder, "none.lock") })).rejects.toThrow(
    /^there is no lock: .*none\.lock; bake once without --locked/,
  );
});

it("refuses a file that changed since the lock was made, on another machine too", async () => {
  await bake();
  const address = "https://download.docker.com/linux/static/stable/x86_64/docker-24.0.9.tgz";
  const { buildArchive } = await import("../support/web-mirror.ts");
  mirror.set(address, buildArchive({ "docker/docker": "program", "docker/runc": "program" }, "tar.gz", "x86-64"));
  await expect(bake({}, join(folder, "another cache"))).rejects.toThrow(
    /^upstream's files have changed under the same version.*delete the lock\n {2}https:\/\/download/,
  );
});

it.each([[{ mirror: ["nothing"] }, /cannot read the mirror: got nothing/]])("refuses %j", (options, message) => {
  expect(() => openPorts({ cacheDir: folder, ...options }, quietContext())).toThrow(message);
});
