import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { startEngine } from "../support/engines.ts";
import { scratch, sh } from "../support/program.ts";
import { makeRoot, openToAll, type Ran, readReport, runIn, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const image = process.getuid?.() === 0 ? debianRoot(["dash", "coreutils", "util-linux", "mount", "sudo"]) : "";
const docker = image === "" ? undefined : await startEngine("docker");

beforeAll(async () => {
  makeRoot(join(folder, "root"));
  await stage(join(folder, "root"), join(folder, "tree"), ["/usr/bin/probe"]);
  if (docker === undefined) return;
  const callers = join(folder, "callers");
  sh(`mkdir ${callers}; tar -C ${image} --exclude=./usr/share --exclude=./var -c . | tar -C ${callers} -xp`);
  for (const [path, text] of Object.entries(sudoers)) writeFileSync(join(callers, path), text);
  docker.sh(`tar -C ${callers} -c . | docker import - callers >/dev/null`);
}, 60_000);

/** Everybody may become anybody, and take FLATWRAP_ROOT with him. */
const sudoers = {
  "etc/passwd": `root:x:0:0::/:/bin/sh\nuser:x:${user.uid}:${user.gid}::/:/bin/sh\n`,
  "etc/group": `root:x:0:\nuser:x:${user.gid}:\n`,
  "etc/sudoers": "ALL ALL=(ALL:ALL) NOPASSWD:SETENV: ALL\n",
  "etc/pam.d/sudo": "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
};

/** What the program says in a container, and how it ended; the container has no network and sees the tree. */
function inside(options: string, command: string): string {
  const seen = `--volume ${folder}:/made:ro --env FLATWRAP_ROOT=/made/tree`;
  return docker!.sh(`docker run --rm --network none ${seen} ${options} callers ${command} 2>&1 || echo "status $?"`);
}
const probe = "/made/tree/usr/bin/probe";

// Its own seccomp filter lets only those with CAP_SYS_ADMIN make namespaces and mount.
const asRoot = "";
const asUser = `--user ${user.uid}:${user.gid}`;
describe.skipIf(docker === undefined)("in a docker container", () => {
  it.each([
    ["root with CAP_SYS_ADMIN", `${asRoot} --cap-add SYS_ADMIN --security-opt apparmor=unconfined`, 0],
    ["a user of a privileged one", `${asUser} --privileged`, user.uid],
    ["root without the filter", `${asRoot} --security-opt seccomp=unconfined --security-opt apparmor=unconfined`, 0],
    [
      "a user without the filter",
      `${asUser} --security-opt seccomp=unconfined --security-opt apparmor=unconfined`,
      user.uid,
    ],
  ])("%s: the program runs, and cannot write its root", (_, options, uid) => {
    const script = `for FLATWRAP_VIA in "" unshare; do export FLATWRAP_VIA; ${probe} && ${probe} make /usr/x; done`;
    const said = inside(options, `sh -c '${script}'`).trim().split("\n");
    expect(said.filter((_line, index) => index % 2 === 1)).toEqual(["/usr/x EROFS", "/usr/x EROFS"]);
    for (const index of [0, 2]) expect(readReport(said[index]!)).toMatchObject({ uid: [uid, uid], cwd: "/" });
  });

  it.each([
    ["a user becomes root", asUser, "root", 0],
    ["root becomes a user", asRoot, "user", user.uid],
  ])("sudo: %s, and the program runs as such", (_, options, who, uid) => {
    const open = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined";
    for (const via of ["", "unshare"]) {
      const given = `FLATWRAP_ROOT=/made/tree FLATWRAP_VIA=${via}`;
      const said = inside(`${options} ${open}`, `sudo -n -u ${who} ${given} ${probe}`);
      expect(readReport(said.replace(/^sudo: unable to resolve host .*\n/gm, ""))).toMatchObject({
        uid: [uid, uid],
        cwd: "/",
      });
    }
  });

  it.each([
    ["root", asRoot],
    ["a user", asUser],
  ])("%s without any privilege: one line tells of it", (_, options) => {
    expect(inside(options, probe)).toBe(
      "flatwrap: /usr/bin/probe: user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons\nstatus 126\n",
    );
  });
});

/** podman as a user who is not root, with subordinate ids that this machine need not have given it. */
function rootless(options: string, via: string): Ran {
  const at = (name: string): string => join(folder, name);
  const env = `env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=${at("home")} XDG_RUNTIME_DIR=${at("home/run")} CONTAINERS_CONF=${at("conf")}`;
  const podman = `podman --root ${at("home/store")} --runroot ${at("home/run/c")} --storage-driver vfs run --rm --network none`;
  const seen = `--volume ${folder}:/made:ro --env FLATWRAP_ROOT=/made/tree --env FLATWRAP_VIA=${via}`;
  const script = `mount --bind ${at("ids")} /etc/subuid && mount --bind ${at("ids")} /etc/subgid &&
    cd / && exec setpriv --reuid 1 --regid 1 --clear-groups ${env} ${podman} ${seen} ${options} --rootfs ${at("container")} ${probe}`;
  // podman leaves a process that holds its namespaces, for the next one: here it ends with this one.
  rmSync(at("home/run/libpod"), { recursive: true, force: true });
  const isolation = ["unshare", "-m", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return runIn({ prefix: [], env: {} }, [...isolation, "sh", "-c", script]);
}

function rootlessRefusal(): string {
  if (image === "") return "needs root";
  sh(
    `cd ${folder} && mkdir -p home/run && cp -a ${image} container && chown -R 1:1 home container && chmod 700 home/run`,
  );
  writeFileSync(join(folder, "ids"), "daemon:100000:65536\n");
  const limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n';
  writeFileSync(join(folder, "conf"), `${limits}[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n`);
  const { status, stderr } = rootless("--entrypoint /bin/true", "");
  return status === 0 ? "" : `podman cannot run without root here: ${stderr.trim()}`;
}
const reason = rootlessRefusal();

describe.skipIf(reason !== "")(`in a container of rootless podman${reason && `: ${reason}`}`, () => {
  it.each([
    ["its root, who may not mount", "", "", 0],
    ["its root, who may", "--cap-add SYS_ADMIN", "start", 0],
    ["its root, privileged", "--privileged", "start", 0],
    ["a user", `--user ${user.uid}:${user.gid}`, "start", user.uid],
    ["a user, by the tools", `--user ${user.uid}:${user.gid}`, "unshare", user.uid],
  ])("%s", (_, options, via, uid) => {
    const { stdout, stderr } = rootless(options, via);
    expect(stderr.replaceAll(/^time=.*level=warning.*\n/gm, "")).toBe("");
    expect(readReport(stdout)).toMatchObject({ uid: [uid, uid], cwd: "/" });
  });
});
