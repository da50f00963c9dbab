import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { makeMuslRoot } from "../support/musl-root.ts";
import { flixwrap, scratch, sh } from "../support/program.ts";

/** Images that start their programs with an LD_LIBRARY_PATH, as many do that unpack a vendor's archive to /app or /opt. */
const work = scratch();
writeFileSync(join(work, "own.c"), "int own(void) { return ANSWER; }\n");
writeFileSync(
  join(work, "main.c"),
  '#include <stdio.h>\nint own(void);\nint main(void) { printf("%d\\n", own()); return 0; }\n',
);

const copyOfDebian = (root: string): string => sh(`mkdir ${root} && cp -a ${debianRoot(["libc6"])}/{lib*,usr} ${root}`);

const roots = [
  ["glibc", "gcc", copyOfDebian],
  ["musl", "musl-gcc", makeMuslRoot],
] as const;

describe.each(roots)("an image of %s", (family, compiler, makeRoot) => {
  const root = join(work, family);
  makeRoot(root);
  for (const [folder, answer] of [
    ["app/lib", 7],
    ["usr/lib", 1],
  ] as const) {
    mkdirSync(join(root, folder), { recursive: true });
    sh(`${compiler} -shared -fPIC -DANSWER=${answer} -Wl,-soname,libown.so.1 -o ${root}/${folder}/libown.so.1 own.c`, {
      cwd: work,
    });
  }
  sh(`${compiler} -o ${root}/app/main main.c ${root}/app/lib/libown.so.1`, { cwd: work });
  const image = `${work}/${family}-layout:x`;
  sh(`umoci init --layout ${work}/${family}-layout && umoci new --image ${image}
      umoci insert --rootless --image ${image} ${root} / >/dev/null 2>&1
      umoci config --image ${image} --config.env LD_LIBRARY_PATH=/nowhere:/app/lib`);
  const env = { FLIXWRAP_CACHE_DIR: join(work, "cache") };
  const flix = (...args: string[]) => flixwrap(["flix", ...args], { env, cwd: work });
  const smoke = (source: string) => flix("--smoke", "main", source, `main-${family}`, "/app/main:/usr/bin/main");

  it("its program has the library that it has in a container, before the loader's own folders", () => {
    const { status, stderr } = smoke(`oci:${image}`);
    expect(stderr).toContain("smoke    main: 7\n");
    expect(status).toBe(0);
  });

  it("explain says so", () => {
    const { stdout } = flix("explain", `oci:${image}`, "/app/main");
    expect(stdout).toMatch(/libown\.so\.1 -> \/app\/lib\/libown\.so\.1 .*\[LD_LIBRARY_PATH of the image, \/app\/lib\]/);
  });

  it("a recipe's image is no other", () => {
    const recipe = join(work, `recipe-${family}`);
    mkdirSync(recipe);
    const part = `{ image: "oci:${image}", convert: flix, entries: ["/app/main:/usr/bin/main"] }`;
    writeFileSync(join(recipe, "recipe.yaml"), `summary: x\nversions: { fixed: ["1"] }\nparts: [${part}]\n`);
    const { stderr } = flixwrap(["bake", "--smoke", "main", recipe, "1"], { env, cwd: work });
    expect(stderr).toContain("smoke    main: 7\n");
  });

  it("a root by itself has no environment", () => {
    expect(smoke(`dir:${root}`).stderr).toContain("smoke    main: 1\n");
  });
});
