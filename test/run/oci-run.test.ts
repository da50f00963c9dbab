import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { rootPath } from "../../src/core/paths.ts";
import { openImage, type OpenedImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { fingerprint } from "../support/compare-roots.ts";
import { debianRoot } from "../support/debian-root.ts";
import { scratch, sh } from "../support/program.ts";

const work = scratch();
const image = join(work, "image.tar");
const isRoot = process.getuid?.() === 0;
const user = "flixwrap-oci-test";

beforeAll(() => {
  chmodSync(work, 0o755);
  const root = debianRoot(["coreutils", "dash", "libc-bin", "sed"]);
  // With everything that can be lost: owners, devices, capabilities, setuid, links in odd places.
  sh(`
    mkdir ${work}/root; cp -a ${root}/. ${work}/root/; cd ${work}/root; rm -rf usr/share var/lib/dpkg
    mkdir -p etc/apt odd run srv; ln -sf ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf
    echo a > odd/owned; chown 33:42 odd/owned; echo b > odd/setuid; chmod 4755 odd/setuid
    cp bin/true odd/capable; setcap cap_net_raw+ep odd/capable; setfattr -n user.k -v 0x00ff odd/owned
    mknod odd/null c 1 3; mkfifo odd/pipe; ln odd/owned odd/hard; touch -d 2001-02-03T04:05:06.789Z odd/owned etc .
    tar --xattrs --xattrs-include='*' --numeric-owner --format=posix --sort=name -cf ${image} .
  `);
});

const opening: OpenedImage[] = [];
afterAll(() => opening.forEach((opened) => opened.close()));

interface Ran {
  readonly lines: string[];
  readonly said: string[];
  read(path: string): string | undefined;
}

async function run(
  commands: readonly string[],
  options: Partial<OpenOptions> & { source?: string } = {},
): Promise<Ran> {
  const said: string[] = [];
  const context = quietContext({
    env: { PATH: process.env.PATH, http_proxy: "http://proxy.invalid:1", SECRET: "secret" },
    emit: (event) => (event.kind === "step" && event.step === "run" ? said.push(event.detail) : undefined),
  });
  const { source = image, ...rest } = options;
  const opened = await openImage(parseReference(source), {
    context,
    cacheDir: `${work}/cache`,
    run: commands,
    ...rest,
  });
  try {
    return { lines: fingerprint(opened.rootfs), said, read: readFrom(opened) };
  } finally {
    // Read from until the end of the file.
    opening.push(opened);
  }
}

const readFrom =
  ({ rootfs }: OpenedImage) =>
  (path: string): string | undefined => {
    const node = rootfs.resolve(rootPath(path));
    return node && Buffer.from(rootfs.open(node).read(0, node.size)).toString();
  };

describe.runIf(isRoot)("commands in an image, as root", () => {
  it("change nothing but what they change", async () => {
    const before = (await run([])).lines;
    const { lines } = await run(["true"]);
    expect(lines).toEqual(before);
    const changed = (await run(["echo new > /srv/made; rm /odd/setuid; chown 5:6 /odd/owned"])).lines;
    const paths = (list: string[]): string[] => list.map((line) => line.split(" ")[0]!);
    const differing = new Set(
      [...changed, ...before].filter((line) => !(changed.includes(line) && before.includes(line))),
    );
    expect([...new Set(paths([...differing]))].sort()).toEqual([
      "/odd",
      "/odd/hard",
      "/odd/owned",
      "/odd/setuid",
      "/srv",
      "/srv/made",
    ]);
  });

  it("see the image's own world: its environment, devices, /proc, /tmp, resolv.conf, and nothing of the host's", async () => {
    const { said, lines } = await run([
      "pwd; id -u; echo $HOME $DEBIAN_FRONTEND $http_proxy [$SECRET] [$USER]; echo $PATH",
      "test -c /dev/null && test -r /proc/self/status && test -w /tmp && echo devices; stat -c %a /tmp",
      "test -s /etc/resolv.conf; cat /etc/hosts; echo kept > /tmp/file",
      "cat /tmp/file; echo processes $(ls /proc | sed -n '/^[0-9]/p' | wc -l)",
      "tr '\\0' '\\n' < /proc/1/environ | sed -n '/SECRET/p' | wc -l",
    ]);
    expect(said).toContain("/");
    expect(said).toContain("0");
    expect(said).toContain("/root noninteractive http://proxy.invalid:1 [] []");
    expect(said).toContain("devices");
    expect(said).toContain("1777");
    expect(said).toContain("kept");
    expect(said).toContain("127.0.0.1 localhost");
    expect(Number(said.find((line) => line.startsWith("processes"))!.slice(10))).toBeLessThan(10);
    expect(said.at(-1)).toBe("0");
    const ofHost = (all: string[]): string[] => all.filter((line) => /^\/(tmp|proc|dev|etc)(\/| )/.test(line));
    expect(ofHost(lines)).toEqual(ofHost((await run([])).lines));
  });

  it("tell the failing command with its status and last lines, and leave nothing", async () => {
    await expect(
      run(["true", "echo out; for n in $(seq 30); do echo line $n >&2; done; exit 7", "touch /never"]),
    ).rejects.toMatchObject({
      code: "oci-run-failed",
      message: expect.stringMatching(
        /a command failed inside the image: echo out.*exit status 7\n.*line 21\n.*line 30$/s,
      ),
    });
    expect(readdirSync(`${work}/cache/v1/tmp`)).toEqual([]);
  });

  it("have no network when it is taken away", async () => {
    const links = "sed -n '/:/p' /proc/net/dev | wc -l";
    expect((await run([links], { runNetwork: "none" })).said.at(-1)).toBe("1");
    expect(Number((await run([links])).said.at(-1))).toBeGreaterThan(1);
  });

  it("run once for the same image and commands, when results are kept", async () => {
    sh(
      `umoci init --layout ${work}/layout; umoci new --image ${work}/layout:t; umoci raw add-layer --image ${work}/layout:t ${image}`,
    );
    const options = { source: `oci:${work}/layout:t`, runCache: true };
    const command = "date +%s%N > /made";
    const first = await run([command], options);
    const second = await run([command], options);
    expect(first.said).toEqual([command]);
    expect(second.said).toEqual([]);
    expect(second.lines).toEqual(first.lines);
    expect(second.read("/made")).toMatch(/^\d{19}\n$/);
    expect((await run([command, "true"], options)).read("/made")).not.toBe(first.read("/made"));
  });

  it("cannot reach the host through links of the image", async () => {
    const victim = join(work, "victim");
    mkdirSync(join(victim, "apt/apt.conf.d"), { recursive: true });
    writeFileSync(join(victim, "resolv.conf"), "untouched");
    sh(`mkdir ${work}/hostile; cp -a ${work}/root/. ${work}/hostile/; cd ${work}/hostile; rm -rf etc tmp usr/sbin
      ln -s ${victim} etc; ln -s ${victim} usr/sbin; mkdir realtmp; ln -s realtmp tmp`);
    const before = sh(`cd ${victim}; find . -printf '%p %m %T@ %i %s\\n' | sort`);
    const { said } = await run(["ls -d /tmp/. /realtmp; echo hello > /tmp/x"], { source: `dir:${work}/hostile` });
    expect(said).toContain("/realtmp");
    expect(sh(`cd ${victim}; find . -printf '%p %m %T@ %i %s\\n' | sort`)).toBe(before);
    expect(existsSync(join(work, "hostile/realtmp/x"))).toBe(false);
  });

  it("end with Ctrl-C, all of them", async () => {
    const controller = new AbortController();
    const marker = `73${process.pid}`;
    const alive = (): boolean => spawnSync("pgrep", ["-f", `^sleep ${marker}`]).status === 0;
    const running = run([`(setsid sleep ${marker} &) ; sleep ${marker}`], {
      context: quietContext({ env: { PATH: process.env.PATH }, signal: controller.signal }),
    });
    running.catch(() => undefined);
    await until(alive);
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: "interrupted" });
    await until(() => !alive());
    expect(readdirSync(`${work}/cache/v1/tmp`)).toEqual([]);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 200) throw new Error("it never happened");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const library = new URL("../../dist/oci/index.js", import.meta.url).href;
const script = `
  import { openImage, parseReference } from "${library}";
  const [source, cacheDir, ...run] = process.argv.slice(1);
  const emit = (event) => { if (event.kind === "step" || event.kind === "warning") console.log(event.detail ?? event.message); };
  try {
    const { rootfs, close } = await openImage(parseReference(source), {
      cacheDir, run, context: { signal: new AbortController().signal, env: process.env, emit },
    });
    for (const node of rootfs.walk("/")) {
      const xattrs = [...node.xattrs].map(([key, value]) => key + "=" + Buffer.from(value).toString("hex"));
      console.log([node.path, node.type, node.mode.toString(8), node.uid, node.gid, ...xattrs].join(" "));
    }
    close();
  } catch (error) { console.log(error.message); process.exitCode = 1; }
`;
const asUser = (name: string): string[] => {
  const id = (option: string): string => spawnSync("id", [option, name], { encoding: "utf8" }).stdout.trim();
  return ["setpriv", `--reuid=${id("-u")}`, `--regid=${id("-g")}`, "--clear-groups", "--"];
};
function runElsewhere(prefix: readonly string[], source: string, ...commands: string[]): string[] {
  const [program, ...words] = [...prefix, process.execPath, "--input-type=module", "-e", script, source];
  const cache = join(work, `cache-${commands.length}-${prefix.length}-${Math.random()}`);
  mkdirSync(cache);
  chmodSync(cache, 0o777);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: work };
  const ended = spawnSync(program, [...words, cache, ...commands], {
    encoding: "utf8",
    env,
    maxBuffer: 1 << 28,
    cwd: work,
  });
  const version = join(cache, "v1/tmp");
  expect(existsSync(version) ? readdirSync(version) : []).toEqual([]);
  expect(ended.stderr).toBe("");
  return ended.stdout.trimEnd().split("\n");
}

describe.runIf(isRoot)("commands in an image, as an ordinary user", () => {
  beforeAll(() => {
    // With a range of subordinate ids (useradd -F), and one without.
    sh(`id ${user} >/dev/null 2>&1 || useradd -r -F ${user}; id ${user}-1 >/dev/null 2>&1 || useradd -r ${user}-1`);
  });
  afterAll(() => void sh(`userdel ${user}; userdel ${user}-1`));
  const odd = (lines: string[]): string[] => lines.filter((line) => line.startsWith("/odd/")).sort();

  it("with subordinate ids: owners, capabilities, devices, setuid stay", () => {
    const lines = runElsewhere(
      asUser(user),
      image,
      "id -u; chown 7:8 /odd/setuid; chmod 6755 /odd/setuid; chown 42:0 /odd/pipe",
    );
    expect(lines).toContain("0");
    expect(odd(lines)).toEqual([
      "/odd/capable file 755 0 0 security.capability=0100000200200000000000000000000000000000",
      "/odd/hard file 644 33 42 user.k=00ff",
      "/odd/null character-device 644 0 0",
      "/odd/owned file 644 33 42 user.k=00ff",
      "/odd/pipe fifo 644 42 0",
      "/odd/setuid file 6755 7 8",
    ]);
  });

  it("with a single id: everything is root's, and that is said", () => {
    const lines = runElsewhere(asUser(`${user}-1`), image, "id -u; echo made > /srv/made");
    expect(lines).toContainEqual(expect.stringMatching(/no range of subordinate ids: everything will belong to root/));
    expect(lines).toContain("/srv/made file 644 0 0");
    expect(lines).toContain("/odd/owned file 644 0 0 user.k=00ff");
    expect(lines).toContain("/odd/null character-device 644 0 0");
  });

  it("where user namespaces are not allowed, says what would help", () => {
    const fake = join(work, "fake");
    mkdirSync(fake);
    writeFileSync(join(fake, "unshare"), "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n", {
      mode: 0o755,
    });
    chmodSync(fake, 0o755);
    const start = performance.now();
    const lines = runElsewhere([...asUser(user), "env", `PATH=${fake}:/usr/bin:/bin`], image, "true");
    expect(lines[0]).toMatch(/user namespaces are not allowed; .*root/);
    expect(lines[1]).toMatch(/Operation not permitted/);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe("commands in an image for another processor", () => {
  const arm = (): string => {
    const root = join(work, "arm");
    if (!existsSync(root)) {
      sh(
        `mkdir -p ${root}/bin ${root}/tmp ${root}/dev ${root}/proc; cp ${debianRoot(["busybox-static"], { architecture: "arm64" })}/bin/busybox ${root}/bin/`,
      );
      for (const name of ["sh", "uname", "touch", "chown", "id"]) sh(`ln ${root}/bin/busybox ${root}/bin/${name}`);
    }
    return `dir:${root}`;
  };
  const binfmt = (): string =>
    existsSync("/proc/sys/fs/binfmt_misc") ? readdirSync("/proc/sys/fs/binfmt_misc").join() : "";

  it.each([["root"], ["a user"]])("are emulated for %s, and nobody else sees how", (who) => {
    if (who === "a user" && isRoot) sh(`id ${user} >/dev/null 2>&1 || useradd -r -F ${user}`);
    const before = binfmt();
    const prefix = who === "root" || !isRoot ? [] : asUser(user);
    const lines = runElsewhere(prefix, arm(), "uname -m; id -u; touch /made; chown 5:6 /made");
    if (who === "a user" && isRoot) sh(`userdel ${user}`);
    expect(lines).toContain("aarch64");
    expect(lines).toContain(isRoot ? "/made file 644 5 6" : "/made file 644 0 0");
    expect(binfmt()).toBe(before);
  });

  it("without an emulator are refused with the remedy", () => {
    const root = join(work, "strange");
    sh(`mkdir -p ${root}/bin ${root}/tmp ${root}/dev ${root}/proc`);
    // An ELF header for s390x is all that is looked at.
    const header = Buffer.alloc(64);
    Buffer.from("7f454c46020201", "hex").copy(header);
    header.writeUInt16BE(2, 16);
    header.writeUInt16BE(22, 18);
    writeFileSync(join(root, "bin/sh"), header, { mode: 0o755 });
    // Where there is one, it is hidden.
    const tools = ["/usr/bin/tar", "/usr/bin/bwrap", "/usr/bin/unshare", process.execPath];
    const hidden = [
      "bwrap",
      "--dev-bind",
      "/",
      "/",
      "--tmpfs",
      "/usr/bin",
      ...tools.flatMap((tool) => ["--ro-bind", tool, tool]),
    ];
    const lines = runElsewhere([...hidden, "--"], `dir:${root}`, "true");
    expect(lines[0]).toMatch(/another processor.*install qemu-user-static/);
  });
});

it.runIf(isRoot)("a killed run leaves no process, and what it left is removed by the next", async () => {
  const marker = `74${process.pid}`;
  const alive = (): boolean => spawnSync("pgrep", ["-f", `^sleep ${marker}`]).status === 0;
  const cache = join(work, "cache-killed");
  const words = ["--input-type=module", "-e", script, image, cache, `sleep ${marker}`];
  const child = spawn(process.execPath, words, { stdio: "ignore", env: { PATH: process.env.PATH, HOME: work } });
  await until(alive);
  child.kill("SIGKILL");
  await until(() => !alive());
  expect(readdirSync(join(cache, "v1/tmp"))).toHaveLength(1);
  await run([], { cacheDir: cache });
  expect(readdirSync(join(cache, "v1/tmp"))).toEqual([]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(cache);
});
