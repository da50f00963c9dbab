import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { startEngine } from "../support/engines.ts";
import { scratch } from "../support/program.ts";
import { makeRoot, openToAll, readReport, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const image = process.getuid?.() === 0 ? debianRoot(["dash", "coreutils", "util-linux", "mount"]) : "";
const docker = image === "" ? undefined : await startEngine("docker");

beforeAll(async () => {
  makeRoot(join(folder, "root"));
  await stage(join(folder, "root"), join(folder, "tree"), ["/usr/bin/probe"]);
  docker?.sh(`tar -C ${image} -c . | docker import - callers >/dev/null`);
}, 60_000);

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
    ["root", asRoot],
    ["a user", asUser],
  ])("%s without any privilege: one line tells of it", (_, options) => {
    expect(inside(options, probe)).toBe(
      "flatwrap: /usr/bin/probe: user namespaces do not work here, and bwrap is not used; FLATWRAP_LOG=FILE has the reasons\nstatus 126\n",
    );
  });
});
