import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { checkTree, wordFinding } from "../../src/extension/check/check.ts";
import { finishPlan } from "../../src/extension/finish.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { openTorcx } from "../../src/image/open-torcx.ts";
import { packTree } from "../../src/pack/pack.ts";
import { planTorcx, type TorcxPlan } from "../../src/wrap/torcx.ts";
import { layerCorpus } from "../support/layer-corpus.ts";
import { copyRoot, runInRoot, systemd257 } from "./pack-guest.ts";
import { compileStatic, torcxArchives, torcxLayouts, writeLayout } from "./torcx-images.ts";

let folder: string;
let cacheDir: string;
const paths: Record<string, string> = {};
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "torcx-test-"));
  cacheDir = join(folder, "cache");
  paths["static"] = join(folder, "static");
  compileStatic(paths["static"]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const context = quietContext({ env: process.env });

/** What the command line does: open, plan, finish, check, pack as a folder. */
async function convert(source: string, name: string, output: string): Promise<TorcxPlan> {
  const opened = await openTorcx(source, { context, cacheDir });
  try {
    const image = opened.torcxName;
    const plan = planTorcx(opened.rootfs, { name, ...(image === undefined ? {} : { image }) });
    const finished = finishPlan(plan, {
      release: { name, reload: true, architecture: "x86-64" },
      manifest: { flixwrap: "0", converter: "torcx" },
    });
    const tree = buildTree(finished, { name });
    const errors = checkTree(tree).filter(({ severity }) => severity === "error");
    expect(errors.map((finding) => wordFinding(finding))).toEqual([]);
    await packTree(tree, { format: "dir", output, epoch: 0 }, context);
    return plan;
  } finally {
    opened.close();
  }
}

const formats = Object.keys(torcxArchives);
const unitsIn = (output: string): string => join(output, "usr/lib/systemd/system");
const list = (output: string): string =>
  execFileSync("find", [".", "-printf", "%y %m %p %l\\n"], { cwd: output, encoding: "utf8" })
    .split("\n")
    .filter((line) => !line.includes("/usr/share/flixwrap/"))
    .toSorted()
    .join("\n");

function build(layout: string, format: string): string {
  const source = join(folder, layout);
  rmSync(source, { recursive: true, force: true });
  writeLayout(source, torcxLayouts[layout]!, paths);
  const archive = format === "folder" ? source : join(folder, `${layout}.torcx.${format}`);
  torcxArchives[format]?.(source, archive);
  return archive;
}

test("every layout becomes an extension that systemd 257 finds nothing wrong with", async () => {
  const root = copyRoot(systemd257());
  try {
    // Every host has procps; the smallest Debian has not.
    symlinkSync("true", join(root, "usr/bin/kill"));
    for (const [at, layout] of Object.keys(torcxLayouts).entries()) {
      const output = join(folder, `verified-${layout}`);
      const plan = await convert(build(layout, formats[at % formats.length]!), "docker", output);
      expect(plan.warnings).toEqual([]);
      const release = readFileSync(join(output, "usr/lib/extension-release.d/extension-release.docker"), "utf8");
      expect(release).toMatch(/^EXTENSION_RELOAD_MANAGER=1$/m);
      expect(release).toMatch(/^ARCHITECTURE=x86-64$/m);

      const units = readdirSync(unitsIn(output)).filter((name) => /\.(service|socket)$/.test(name));
      for (const unit of units) {
        const lines = readFileSync(join(unitsIn(output), unit), "utf8").split("\n");
        expect(lines.filter((line) => /torcx/i.test(line) && !line.startsWith("#"))).toEqual([]);
      }
      execFileSync("cp", ["-a", "--no-target-directory", join(output, "usr"), join(root, "usr")]);
      expect(runInRoot(root, ["systemd-analyze", "verify", "--man=no", ...units])).toEqual({ status: 0, output: "" });
      const upheld = plan.enabled.map((unit) => {
        const target = unit.endsWith(".socket") ? "sockets.target" : "multi-user.target";
        return readFileSync(join(unitsIn(output), `${target}.d/10-${unit}.conf`), "utf8");
      });
      expect(upheld).toEqual(plan.enabled.map((unit) => `[Unit]\nUpholds=${unit}\n`));
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}, 60_000);

test("a tar however compressed, a squashfs image and a folder give the same", async () => {
  const lists = new Map<string, string>();
  for (const format of [...formats, "folder"]) {
    const output = join(folder, `same-${format}`);
    const source = build("docker:com.coreos.cl", format);
    const plan = await convert(source, "docker", output);
    expect(plan.replaces).toEqual(["docker-flatcar", "containerd-flatcar"]);
    lists.set(format, list(output));
  }
  expect(new Set(lists.values()).size).toBe(1);
  expect(lists.get("tgz")).toContain("./usr/bin/containerd-shim-runc-v2");
}, 60_000);

describe("dynamic programs", () => {
  /** `say` of this machine's compiler with a library of its own; `libc` is this machine's. */
  function dynamicLayout(withLibraries: boolean): string {
    const at = mkdtempSync(join(folder, "dynamic-"));
    for (const place of ["bin", "lib64", "lib/x86_64-linux-gnu"]) mkdirSync(join(at, place), { recursive: true });
    const source = join(folder, "say.c");
    const library = join(at, "lib/x86_64-linux-gnu/libsay.so.1");
    writeFileSync(source, '#include <stdio.h>\nvoid say(void) { puts("said"); }\n');
    execFileSync("gcc", ["-shared", "-fPIC", "-Wl,-soname,libsay.so.1", "-o", library, source]);
    writeFileSync(source, "void say(void); int main(void) { say(); return 0; }\n");
    execFileSync("gcc", ["-o", join(at, "bin/say"), source, library]);
    if (withLibraries) {
      execFileSync("cp", ["-L", "/lib/x86_64-linux-gnu/libc.so.6", join(at, "lib/x86_64-linux-gnu")]);
      execFileSync("cp", ["-L", "/lib64/ld-linux-x86-64.so.2", join(at, "lib64")]);
    } else rmSync(library);
    return at;
  }

  test("run with the image's own libraries, and the host's folders get none of them", async () => {
    const output = join(folder, "dynamic-out");
    const plan = await convert(dynamicLayout(true), "say", output);
    expect(plan.warnings).toEqual([
      expect.stringMatching(/^not put into the host's folders of libraries: .*libc\.so\.6/),
    ]);
    expect(list(output)).not.toMatch(/\.\/usr\/lib\/x86_64-linux-gnu/);
    const root = mkdtempSync(join(folder, "bare-"));
    execFileSync("cp", ["-a", join(output, "usr"), root]);
    expect(execFileSync("chroot", [root, "/usr/bin/say"], { encoding: "utf8" })).toBe("said\n");
  });

  test("without their libraries are told by name, with what is missing", async () => {
    const opened = await openTorcx(dynamicLayout(false), { context, cacheDir });
    const plan = planTorcx(opened.rootfs, { name: "say" });
    opened.close();
    expect(plan.warnings).toHaveLength(1);
    expect(plan.warnings[0]).toMatch(/^\/bin\/say is dynamic and stays as it is, .*(ld-linux|libsay)/);
  });
});

describe("broken and hostile archives end in one line", () => {
  const good = (): Buffer => {
    const source = build("containerd:reduced", "tgz");
    return readFileSync(source);
  };
  test.each<readonly [string, () => Buffer, RegExp]>([
    ["cut short", () => good().subarray(0, good().length >> 1), /^oci-/],
    [
      "one byte wrong",
      () => Buffer.concat([good().subarray(0, 1000), Buffer.from("x"), good().subarray(1001)]),
      /^oci-/,
    ],
    ["text", () => Buffer.from("not an archive, but some text that is long enough\n".repeat(40)), /^oci-/],
    ["nothing", () => Buffer.alloc(0), /^(oci-|wrap-torcx-empty)/],
    ["an empty tar", () => gzipSync(Buffer.alloc(1024)), /^wrap-torcx-empty$/],
    ["a damaged squashfs", () => Buffer.concat([Buffer.from("hsqs"), Buffer.alloc(8000, 7)]), /^pack-/],
  ])("%s", async (title, bytes, code) => {
    const path = join(folder, `${title}:1.torcx.tgz`);
    writeFileSync(path, bytes());
    const error: unknown = await convert(path, "x", join(folder, "never")).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: expect.stringMatching(code) as string });
    expect((error as Error).message).not.toContain("\n");
  });

  test("the corpus of layers, each as a Torcx image", async () => {
    const victim = join(folder, "victim");
    mkdirSync(victim);
    const cases = layerCorpus(victim).filter(({ layers }) => layers.length === 1);
    let planned = 0;
    for (const [at, { layers, title }] of cases.entries()) {
      const path = join(folder, `corpus:${at}.torcx.tar`);
      writeFileSync(path, layers[0]!);
      try {
        const opened = await openTorcx(path, { context, cacheDir });
        planTorcx(opened.rootfs, { name: "x" });
        opened.close();
        planned++;
      } catch (error) {
        expect(error, title).toMatchObject({ code: expect.stringMatching(/^(oci|wrap)-/) as string });
        expect((error as Error).message, title).not.toContain("\n");
      }
    }
    expect(planned).toBeLessThan(cases.length);
    expect(cases.length).toBeGreaterThan(50);
    expect(readdirSync(victim)).toEqual([]);
  });

  test("no such file", async () => {
    await expect(openTorcx("docker:20.10.torcx.tgz", { context, cacheDir })).rejects.toMatchObject({
      code: "oci-no-archive",
    });
  });
});
