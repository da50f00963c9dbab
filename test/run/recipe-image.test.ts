import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { openImages } from "../../src/recipes/open-images.ts";
import { type PlannedRecipe, planRecipe, sourcesOf } from "../../src/recipes/plan.ts";
import { readRecipe } from "../../src/recipes/recipe.ts";
import { listVersions } from "../../src/recipes/versions.ts";
import { leavesOf, portsTo, textOf } from "../support/recipes.ts";
import { startRegistry } from "../support/registry.ts";
import { buildArchive, openWebMirror, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;
let image: string;
beforeAll(async () => {
  mirror = await openWebMirror();
  folder = mkdtempSync(join(tmpdir(), "flixwrap-image-"));
  const root = join(folder, "root");
  for (const path of ["bin", "etc", "proc", "dev", "tmp", "lib/apk/db"])
    mkdirSync(join(root, path), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const name of ["sh", "tar", "gzip", "mkdir", "cp", "cat", "echo", "chmod"])
    symlinkSync("busybox", join(root, "bin", name));
  writeFileSync(join(root, "lib/apk/db/installed"), "P:tool\nV:1.0-r0\n\n");
  writeFileSync(join(root, "etc/versions"), "tool-1.0-r0\ntool-1.1-r3\n");
  image = (await startRegistry()).push(root, "build");
});
afterAll(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

test("a recipe compiles in an image of a registry: verified input, command, result; once", async () => {
  const source = buildArchive(
    {
      "tool-1.0/build.sh": {
        text: "#!/bin/sh\nset -e\nmkdir -p /out\ncp /bin/busybox /out/tool\necho built >/out/note\nchmod 700 /out/tool\n",
      },
    },
    "tar.gz",
    "x86-64",
  );
  mirror.set("https://example.org/tool-1.0.tar.gz", source);
  mkdirSync(join(folder, "tool"));
  writeFileSync(
    join(folder, "tool/recipe.yaml"),
    `summary: x
versions:
  image: ${image}
  run: cat /etc/versions
  match: ^tool-([0-9.]+)-r[0-9]+$
parts:
  - image: ${image}
    inputs:
      /input/tool.tar.gz: { download: "https://example.org/tool-{version}.tar.gz", unverified: a test }
    run: |
      mkdir /build
      tar -C /build -xzf /input/tool.tar.gz
      sh /build/tool-{version}/build.sh
    package: tool
    files:
      out/tool: { to: /usr/bin/tool, mode: 755 }
      out/note: /usr/share/tool/note
`,
  );
  const ran: string[] = [];
  const context = quietContext({
    env: process.env,
    emit: (event) => void (event.kind === "step" && event.step === "run" && ran.push(event.detail)),
  });
  const ports = {
    ...portsTo(mirror, join(folder, "cache"), context),
    images: openImages({ context, cacheDir: join(folder, "images") }),
  };
  const recipe = readRecipe(join(folder, "tool"));
  expect(await listVersions(recipe.file.versions!, sourcesOf(ports))).toEqual(["1.1", "1.0"]);
  ran.length = 0;

  const look = (planned: PlannedRecipe): unknown => {
    const tree = buildTree(planned.plan, { name: "tool" });
    expect(leavesOf(tree)).toEqual(["/usr/bin/tool", "/usr/share/tool/note"]);
    expect(textOf(tree, "/usr/share/tool/note")).toBe("built\n");
    expect(tree.nodes.get("/usr/bin/tool" as never)!.mode).toBe(0o755);
    planned.close();
    return planned.lock;
  };
  const first = look(await planRecipe({ recipe, version: "1.0", architecture: "x86-64" }, ports));
  expect(ran.some((line) => line.includes("build.sh"))).toBe(true);
  ran.length = 0;
  const again = look(await planRecipe({ recipe, version: "1.0", architecture: "x86-64", lock: first as never }, ports));
  expect(again).toEqual(first);
  expect(ran).toEqual([]);
  expect(first).toMatchObject({
    architectures: {
      "x86-64": [
        { source: "https://example.org/tool-1.0.tar.gz", digest: expect.stringMatching(/^sha256:/) as string },
        {
          source: image,
          digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string,
          result: expect.stringMatching(/^sha256:/) as string,
        },
      ],
    },
  });

  await expect(planRecipe({ recipe, version: "1.1", architecture: "x86-64" }, ports)).rejects.toThrow(
    /upstream has no file of tool 1\.1/,
  );
});
