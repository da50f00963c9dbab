import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { scratch } from "../support/program.ts";
import { compile, makeRoot, modes, openToAll, readReport, runIn, stage } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const tree = join(folder, "tree");
const refuse = join(folder, "refuse");
const asUser = modes.find(({ isUser }) => isUser)!.prefix;
const isRoot = process.getuid?.() === 0;

beforeAll(async () => {
  makeRoot(join(folder, "root"));
  compile("refuse", refuse);
  await stage(join(folder, "root"), tree, ["/usr/bin/probe"]);
});

const start = (prefix: readonly string[], env: Record<string, string>) =>
  runIn({ prefix, env }, [join(tree, "usr/bin/probe")], { env: { FLATWRAP_ROOT: tree } });

// errno: EPERM 1, EACCES 13, EINVAL 22, ENOSPC 28
const kernels = [
  ["kernel.unprivileged_userns_clone=0 (Debian), a container's seccomp, RestrictNamespaces=", "userns=1"],
  ["user.max_user_namespaces=0", "userns=28"],
  ["one without CONFIG_USER_NS", "userns=22"],
  ["AppArmor's profile unprivileged_userns, SELinux: a namespace in which nothing can be mounted", "mount=13"],
] as const;

describe.each(kernels)("for users of a kernel as with %s", (_, rule) => {
  it.each<[string, Record<string, string>, RegExp]>([
    [
      "by default, with bwrap",
      {},
      /^(bwrap: .*|flatwrap: cannot show the program its root; FLATWRAP_LOG=FILE has .*)$/,
    ],
    [
      "without bwrap",
      { NOBWRAP: "1" },
      /^flatwrap: (\S+: user namespaces do not work here|cannot show the program).*$/,
    ],
    [
      "start",
      { FLATWRAP_VIA: "start" },
      /^flatwrap: (\S+: no starter for this machine, or|cannot show the program) .*$/,
    ],
    ["unshare", { FLATWRAP_VIA: "unshare" }, /^flatwrap: \/usr\/bin\/probe: user namespaces do not work here, .*$/],
    ["bwrap", { FLATWRAP_VIA: "bwrap" }, /^bwrap: .*$/],
  ])("one line tells of it: %s", (__, env, line) => {
    const { status, stdout, stderr } = start([...asUser, refuse, rule, "--"], env);
    expect(stderr.replace(/\n$/, "")).toMatch(line);
    expect(stderr).toMatch(/^[^\n]+\n$/);
    expect(stdout).toBe("");
    expect(status).toBe(stderr.startsWith("bwrap") ? 1 : 126);
  });
});

describe.runIf(isRoot)("for root", () => {
  it.each([
    [
      "nothing can be mounted",
      "mount=13",
      {},
      "flatwrap: cannot show the program its root; FLATWRAP_LOG=FILE has the reasons",
    ],
    [
      "nor by the tools",
      "mount=13",
      { FLATWRAP_VIA: "unshare" },
      "unshare: cannot change root filesystem propagation: Permission denied",
    ],
    ["no namespace can be made", "unshare=1", {}, "unshare: unshare failed: Operation not permitted"],
  ])("one line tells of it: %s", (_, rule, env, line) => {
    const { status, stdout, stderr } = start([refuse, rule, "--"], env);
    expect({ stdout, stderr }).toEqual({ stdout: "", stderr: `${line}\n` });
    expect(status).not.toBe(0);
  });
});

it("takes bwrap where unshare alone is refused", () => {
  const ran = start([...asUser, refuse, "unshare=1", "--"], {});
  expect(ran.stderr).toBe("");
  expect(readReport(ran.stdout).pid).not.toBe(ran.pid);
});

describe.runIf(isRoot)("where AppArmor lets only programs with a profile make user namespaces (Ubuntu 24.04)", () => {
  // A file that kernels without AppArmor do not have, among those that bwrap reads.
  const sysctl = (value: number, ...more: string[]): string[] => [
    "unshare",
    "-m",
    "sh",
    "-c",
    `cp /proc/sys/kernel/overflow* ${folder} && mount -t tmpfs tmpfs /proc/sys/kernel && cp ${folder}/overflow* /proc/sys/kernel || exit
     echo ${value} >/proc/sys/kernel/apparmor_restrict_unprivileged_userns
     exec "$@"`,
    "sh",
    ...more,
  ];

  it.each([
    ["bwrap, which may have one", 1, {}, true],
    ["the starter, where it is off", 0, {}, false],
    ["the tools, where there is no bwrap", 1, { NOBWRAP: "1" }, false],
  ])("takes %s", (_, value, env, isChild) => {
    const ran = start(sysctl(value, ...asUser), env);
    expect(ran.stderr).toBe("");
    expect(readReport(ran.stdout).pid !== ran.pid).toBe(isChild);
  });

  it("one line tells of it where there is none", () => {
    const ran = start(sysctl(1, ...asUser, refuse, "mount=13", "--"), { NOBWRAP: "1" });
    expect(ran).toMatchObject({
      status: 126,
      stdout: "",
      stderr:
        "flatwrap: /usr/bin/probe: user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons\n",
    });
  });

  it("root is not concerned", () => {
    const ran = start(sysctl(1), {});
    expect(ran.stderr).toBe("");
    expect(readReport(ran.stdout).pid).toBe(ran.pid);
  });
});
