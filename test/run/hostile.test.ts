import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { flixwrap, flixwrapAsync, scratch, sh } from "../support/program.ts";

/**
 * Attacks through the program's own door. Each must end by itself, soon, with one line and status 1, and leave nothing
 * behind. What a single reader refuses has its rows beside that reader's other tests.
 */
const work = scratch();
const hex = "a".repeat(64);
let count = 0;

/** A fresh folder with these files. */
function folder(files: Readonly<Record<string, string>>): string {
  const path = join(work, `in-${count++}`);
  for (const [name, text] of Object.entries({ ".keep": "", ...files })) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

const layout = (changes: Readonly<Record<string, string>> = {}): string =>
  folder({
    "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:${hex}","size":3}]}`,
    "blobs/sha256/.keep": "",
    ...changes,
  });

/** A layout whose one blob is something else than a file. */
function layoutWith(make: (blob: string) => void): string {
  const path = layout();
  make(join(path, "blobs/sha256", hex));
  return `oci:${path}`;
}

const pipe = (path: string): string => {
  sh(`mkfifo ${path}`);
  return path;
};

/** An archive of docker save whose manifest says this. */
function saved(manifest: unknown, config: unknown = { rootfs: { diff_ids: [`sha256:${hex}`] } }): string {
  const path = folder({ "manifest.json": JSON.stringify(manifest), "c.json": JSON.stringify(config), l: "" });
  sh(`tar cf ${path}.tar -C ${path} manifest.json c.json l`);
  return `docker-archive:${path}.tar`;
}
const image = (layers: readonly unknown[]): unknown => [{ Config: "c.json", RepoTags: [], Layers: layers }];

describe("an image that is an attack", () => {
  it.each<[string, () => string, RegExp]>([
    ["a pipe as an archive", () => `tar:${pipe(join(work, "p1"))}`, /cannot read the archive.*no regular file/],
    ["a pipe as a layout's archive", () => `oci-archive:${pipe(join(work, "p2"))}`, /no regular file/],
    ["a device as an archive", () => "docker-archive:/dev/zero", /no regular file/],
    ["a blob that is a pipe", () => layoutWith(pipe), /it has no file/],
    ["a blob that is a link to a device", () => layoutWith((blob) => symlinkSync("/dev/zero", blob)), /it has no file/],
    ["a blob that is a link outside", () => layoutWith((blob) => symlinkSync("/etc/passwd", blob)), /it has no file/],
    [
      "a version that is an object",
      () => `oci:${layout({ "oci-layout": '{"imageLayoutVersion":{"toString":1}}' })}`,
      /version an object/,
    ],
    [
      "a size that is an object",
      () =>
        `oci:${layout({ "index.json": `{"schemaVersion":2,"manifests":[{"digest":"sha256:${hex}","size":{"toString":1}}]}` })}`,
      /the size an object/,
    ],
    [
      "a size inside a million lists",
      () =>
        `oci:${layout({ "index.json": `{"schemaVersion":2,"manifests":[{"digest":"sha256:${hex}","size":${"[".repeat(1e6)}${"]".repeat(1e6)}}]}` })}`,
      /the size a list/,
    ],
    ["a layer that is an object", () => saved(image([{ toString: 1 }])), /it has no file an object/],
    [
      "a layer beside the archive",
      () => saved(image(["../../../../../../etc/passwd"])),
      /it has no file \.\.\/\.\.\/.*passwd/,
    ],
    [
      "a hundred thousand layers",
      () => {
        const all = Array.from({ length: 100_000 }, () => "l");
        return saved(image(all), { rootfs: { diff_ids: all.map(() => `sha256:${hex}`) } });
      },
      /100000 layers/,
    ],
  ])("%s", { timeout: 30_000 }, async (_, make, message) => {
    const [cache, out] = [join(work, `cache-${count}`), join(work, `out-${count++}`)];
    const source = make();
    const ended = await Promise.race([
      flixwrapAsync(["pull", "--cache-dir", cache, source, out]),
      new Promise<string>((resolve) => setTimeout(() => resolve("it hangs"), 20_000)),
    ]);
    expect(ended).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(message) });
    expect((ended as { stderr: string }).stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(readdirSync(work)).not.toContain(out.slice(work.length + 1));
  });
});

describe("a program of an image that is run", () => {
  const source = `
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
static int possible;
static void told(const char *what, long got) {
  printf("%s: %s; ", what, got < 0 ? strerror(errno) : "POSSIBLE");
  possible += got >= 0;
}
int main(void) {
  char secret[64] = {0};
  long key = syscall(SYS_keyctl, 10, -3, "user", "flixwrap-test", 0);
  told("keyring", key);
  if (key >= 0 && syscall(SYS_keyctl, 11, key, secret, 63) > 0) printf("%s; ", secret);
  told("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
  told("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
  told("mount", mount("x", "/tmp", "tmpfs", 0, 0));
  for (int each = 3; each < 1024; each++)
    if (fcntl(each, F_GETFD) >= 0) told("descriptor", each);
  puts("end");
  return possible;
}`;
  /** Starts a program with a secret in its session keyring, and with descriptors beside the usual. */
  const keeper = `
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **words) {
  syscall(SYS_keyctl, 1, 0);
  syscall(SYS_add_key, "user", "flixwrap-test", "hunter2", 7L, -3);
  int secret = open("/etc/shadow", O_RDONLY);
  dup2(secret, 7), dup2(secret, 30), dup2(secret, 31), dup2(secret, 500);
  return count > 1 ? execvp(words[1], words + 1) : 1;
}`;
  const root = folder({ "usr/x": "", "tmp/x": "", "dev/x": "", "proc/x": "", "etc/x": "", "bin/x": "" });
  for (const [name, text] of Object.entries({ probe: source, keeper })) {
    writeFileSync(join(work, `${name}.c`), text);
    sh(`gcc -static -o ${work}/${name} ${work}/${name}.c`);
  }
  sh(`mkdir ${root}/usr/bin; cp ${work}/probe ${root}/usr/bin/probe; cp ${work}/probe ${root}/bin/sh`);

  it.each([
    ["--smoke", "the extension"],
    ["--run", "the image"],
    ["--trace", "the image, watched"],
  ])(
    "by %s (inside %s) commands nothing of the machine's, and reads no key and no descriptor of the user's",
    (option) => {
      const words = [
        "flix",
        "--cache-dir",
        join(work, "cache-run"),
        option,
        "/usr/bin/probe",
        "-o",
        join(work, "probe.raw"),
      ];
      const { status, stdout, stderr } = flixwrap([...words, `dir:${root}`, "probe", "/usr/bin/probe"], {
        prefix: [join(work, "keeper")],
      });
      expect({ status, stderr }).toMatchObject({ status: 0 });
      // What is only watched may fail; that is told.
      expect(`${stdout}${stderr}`).not.toMatch(/POSSIBLE|hunter2|ends with status/);
      if (option !== "--trace") expect(stderr).toMatch(/keyring: .*core_pattern: .*sysrq: .*mount: .*end/);
    },
  );
});

describe("the terminal", () => {
  const evil = "a\u001b]0;title\u0007\u009b31m\u202egnp\u0085\u007f";
  const files = {
    "usr/lib/extension-release.d/extension-release.x": `ID=_any\nNOTE=${evil}\n`,
    [`usr/bin/${evil}`]: "",
    [`usr/lib/systemd/system/${evil}.service`]: `[Service]\nExecStart=/usr/bin/${evil}\n`,
    "usr/share/flixwrap/x/manifest.json": JSON.stringify({
      name: "x",
      flixwrap: evil,
      image: evil,
      command: [evil],
      packages: [`pkg:deb/x/${evil}`, "pkg:deb/x/%"],
    }),
  };
  const extension = folder(files);
  chmodSync(join(extension, `usr/bin/${evil}`), 0o755);
  it.each([
    ["info"],
    ["info", "--json"],
    ["info", "--files"],
    ["info", "--files", "--json"],
    ["check"],
    ["check", "--json"],
    ["check", "--sarif"],
    ["explain", `dir:${extension}`, "/usr/bin"],
  ])("gets nothing of a hostile extension's from %s", (command, ...options) => {
    const words = command === "explain" ? [command, ...options] : [command, ...options, extension];
    const { status, stdout, stderr } = flixwrap([...words, ...(command === "explain" ? ["--json"] : [])]);
    expect(status).toBeLessThan(2);
    expect(`${stdout}${stderr}`).not.toBe("");
    // oxlint-disable-next-line no-control-regex
    expect(`${stdout}${stderr}`).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });
});

describe("outside", () => {
  it("no program of a folder runs because PATH has an empty or a relative folder in it", () => {
    const root = folder({ "usr/f": "" });
    for (const tool of ["getfattr", "tar", "setfattr", "sqfstar", "mksquashfs"]) {
      writeFileSync(join(root, tool), `#!/bin/sh\ntouch ${work}/pwned\n`, { mode: 0o755 });
    }
    const env = { PATH: `:.:${process.env["PATH"]}` };
    const words = ["pull", "--cache-dir", join(work, "cache-path"), `dir:${root}`, join(work, "out-path")];
    expect(flixwrap(words, { env, cwd: root })).toMatchObject({ status: 0 });
    expect(existsSync(join(work, "pwned"))).toBe(false);
  });

  it("what another user has given the name of a left-over stays", () => {
    const root = folder({ "usr/f": "" });
    const namespace = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))![0];
    const [foreign, own] = ["00000000", "11111111"].map((end) => join(work, `.out-left.4194304-1-${namespace}-${end}`));
    for (const path of [foreign!, own!]) mkdirSync(path);
    chownSync(foreign!, 1501, 1501);
    const words = ["pull", "--cache-dir", join(work, "cache-left"), `dir:${root}`, join(work, "out-left")];
    expect(flixwrap(words)).toMatchObject({ status: 0 });
    expect([existsSync(foreign!), existsSync(own!)]).toEqual([true, false]);
  });
});
