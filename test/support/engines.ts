import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";
import { sh } from "./program.ts";

/** A real dockerd, or podman's service, of this test file alone. */
export interface TestEngine {
  /** What its clients need to find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a shell script in its world: what it has mounted is to be seen there. Needs root. */
  sh(script: string): string;
}

const storage = `
  mkdir -p lower upper work merged data
  if mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged 2>/dev/null; then umount merged; driver=overlay; else driver=vfs; fi
  mount -t tmpfs tmpfs /run
  printf '[storage]\ndriver = "%s"\ngraphroot = "%s/data"\nrunroot = "%s/run"\n' $driver "$PWD" "$PWD" > storage.conf
  for folder in /etc/docker /etc/cni/net.d /var/lib/containers /var/lib/cni; do [ ! -d $folder ] || mount -t tmpfs tmpfs $folder; done
`;

const engines = {
  docker: `
    dockerd --data-root "$PWD/data" --exec-root "$PWD/exec" --host "unix://$PWD/engine.sock" --pidfile "$PWD/pid" \\
      --bridge none --iptables=false --ip-masq=false --cgroup-parent "/$(basename "$PWD")" --storage-driver "\${driver/overlay/overlay2}" &`,
  podman: `
    podman system service --time 0 "unix://$PWD/engine.sock" &`,
} as const;

/**
 * podman sets higher limits than root may where CAP_SYS_RESOURCE is missing, and Debian's crun wants version 2 of
 * the control groups.
 */
const containersConf = `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
`;

/**
 * Starts an engine with folders of its own, in mount and process namespaces of its own, so that killing one
 * process ends all of its and unmounts everything; this machine's own engine, if any, is not concerned. Undefined,
 * with the reason printed, on machines where it does not run. It ends with the test file.
 */
export async function startEngine(kind: keyof typeof engines): Promise<TestEngine | undefined> {
  const work = mkdtempSync(join(tmpdir(), "flixwrap-engine-"));
  const socket = join(work, "engine.sock");
  const log = join(work, "log");
  mkdirSync(join(work, "home"));
  writeFileSync(join(work, "containers.conf"), containersConf);
  const script = `exec > log 2>&1; ${storage} ${engines[kind]} echo $! > main; wait`;
  const isolation = "--mount --propagation private --pid --fork --kill-child --mount-proc".split(" ");
  const words = ["--pdeathsig", "KILL", "unshare", ...isolation, "bash", "-euc", script];
  // Not through the PATH of a user who has another docker beside Debian's.
  const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
  const files = { CONTAINERS_CONF: join(work, "containers.conf"), CONTAINERS_STORAGE_CONF: join(work, "storage.conf") };
  // docker's builder is another program by now; the engine has one of its own.
  const env = { PATH, HOME: join(work, "home"), DOCKER_BUILDKIT: "0", ...files };
  const child = spawn("setpriv", words, { cwd: work, env, stdio: "ignore" });
  const ended = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  atEnd(async () => {
    child.kill("SIGKILL");
    await ended;
    removeControlGroups(work);
    rmSync(work, { recursive: true, force: true, maxRetries: 5 });
  });
  if (!(await isAnswering(socket, child))) {
    const said = readFileSync(log, { encoding: "utf8", flag: "a+" }).trim().split("\n").slice(-5).join("\n");
    console.warn(`${kind} does not run on this machine, its tests are skipped: ${said}`);
    return undefined;
  }
  const variable = kind === "docker" ? "DOCKER_HOST" : "CONTAINER_HOST";
  const inside = sh(`pgrep -P ${child.pid}`).trim();
  return {
    env: { [variable]: `unix://${socket}` },
    sh: (inner) =>
      sh(
        `cd ${work}; exec nsenter --mount --pid --target ${inside} bash -euo pipefail -c '${inner.replaceAll("'", `'\\''`)}'`,
        {
          env: { ...env, [variable]: `unix://${socket}` },
        },
      ),
  };
}

/** What runc leaves: the parents of its containers' groups. Those in use by others cannot be removed. */
function removeControlGroups(work: string): void {
  const name = work.slice(work.lastIndexOf("/") + 1);
  const found = `\\( -path '*/${name}*' -o -path '*/libpod_parent*' \\)`;
  sh(`find /sys/fs/cgroup -depth -type d ${found} -exec rmdir {} \\; 2>/dev/null || true`);
}

async function isAnswering(socketPath: string, child: ChildProcess): Promise<boolean> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    const isUp = await new Promise<boolean>((resolve) => {
      get({ socketPath, path: "/_ping" }, (answer) => resolve(answer.resume().statusCode === 200)).on("error", () =>
        resolve(false),
      );
    });
    if (isUp) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}
