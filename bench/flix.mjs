// Times `flix` against the reference way (bench/reference-flix.sh) on the same images, in one run: the best of some
// rounds, wall time and the processors' (user + system). Each round runs every command once, so that what disturbs the
// machine for a while disturbs all of them, and a command that several rows compare with has one time.
// A quiet machine is the caller's part, and a quiet disk even more: unpacking an image makes thousands of files, each of
// which took 0.8 ms of the kernel's time where others wrote to the same ext4 (cp -a of 7,400 files: 6.3 s).
// Usage: node bench/flix.mjs [ROUNDS [WORD]]: all cases, or those with the word in their name.
// Works in FLIXWRAP_BENCH_DIR (a tmpfs, and no disk is measured), or the temporary folder.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [rounds = 5, word = ""] = process.argv.slice(2);
const here = new URL(".", import.meta.url).pathname;
const work = mkdtempSync(join(process.env.FLIXWRAP_BENCH_DIR ?? tmpdir(), "flixwrap-bench-"));
const sh = (command) =>
  execFileSync("bash", ["-euo", "pipefail", "-c", command], {
    cwd: work,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
const makeRoot = (name, include) =>
  sh(
    `mmdebstrap --quiet --variant=minbase --include=${include} $(. /etc/os-release; echo $VERSION_CODENAME) ${name} 2>/dev/null`,
  );

const port = await new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port: free } = server.address();
    server.close(() => resolve(free));
  });
});
writeFileSync(
  join(work, "registry.yml"),
  `version: 0.1\nlog: { accesslog: { disabled: true }, level: error }\nstorage: { filesystem: { rootdirectory: ${work}/registry } }\nhttp: { addr: "127.0.0.1:${port}" }\n`,
);
const registry = spawn("docker-registry", ["serve", join(work, "registry.yml")], { stdio: "ignore" });
try {
  makeRoot("nginx", "nginx-light");
  sh("umoci init --layout layout && umoci new --image layout:x && umoci insert --image layout:x nginx / 2>&1");
  sh(`for i in $(seq 50); do curl -sf http://127.0.0.1:${port}/v2/ >/dev/null && break; sleep 0.1; done`);
  sh(`skopeo copy --quiet --dest-tls-verify=false oci:layout:x docker://localhost:${port}/bench:x`);

  const flix = `node ${here}../dist/program/main.cjs flix --quiet`;
  const reference = `bash ${here}reference-flix.sh`;
  const nginx = "bench /usr/sbin/nginx";
  const ffmpeg = "bench /usr/bin/ffmpeg";
  const registryImage = `localhost:${port}/bench:x`;
  const rows = [
    {
      what: "nginx from a registry, nothing cached",
      ours: `${flix} -o ours.raw --cache-dir cache ${registryImage} ${nginx}`,
      theirs: `${reference} docker://${registryImage} ${nginx} theirs.raw`,
    },
    {
      what: "nginx from a registry, layers cached (the reference has no cache)",
      ours: `${flix} -o ours.raw --cache-dir kept ${registryImage} ${nginx}`,
      theirs: `${reference} docker://${registryImage} ${nginx} theirs.raw`,
    },
    {
      what: "nginx from a folder",
      ours: `${flix} -o ours.raw dir:nginx ${nginx}`,
      theirs: `${reference} nginx ${nginx} theirs.raw`,
    },
    {
      what: "nginx from a folder, planned and written as a folder",
      ours: `${flix} --format dir -o ours dir:nginx ${nginx}`,
      theirs: `${reference} nginx ${nginx} theirs`,
    },
    {
      what: "ffmpeg from a folder, planned and written as a folder",
      ours: `${flix} --format dir -o ours dir:ffmpeg ${ffmpeg}`,
      theirs: `${reference} ffmpeg ${ffmpeg} theirs`,
    },
  ];
  const chosen = rows.filter((row) => row.what.includes(word));
  const roots = ["nginx", "ffmpeg"].filter((root) => chosen.some((row) => row.what.startsWith(root)));
  if (roots.includes("ffmpeg")) makeRoot("ffmpeg", "ffmpeg");
  // What a row takes for granted.
  sh(`${flix} -o ours.raw --cache-dir kept ${registryImage} ${nginx} && rm ours.raw`);

  console.log(`best of ${rounds} rounds: seconds, and of the processors`);
  const best = new Map();
  const commands = new Set(chosen.flatMap(({ ours, theirs }) => [ours, theirs]));
  for (let round = 0; round < rounds; round++) {
    for (const command of commands) {
      // What the last command wrote is none of this one's work; neither is removing it or writing it to the disk.
      sh("rm -rf ours theirs ours.raw theirs.raw cache bench; sync -f .");
      const time = measure(command);
      if (time.wall < (best.get(command)?.wall ?? Infinity)) best.set(command, time);
    }
  }
  for (const { what, ours, theirs } of chosen) {
    const [mine, other] = [best.get(ours), best.get(theirs)];
    const told = ({ wall, cpu }) => `${wall.toFixed(2)} (${cpu.toFixed(2)})`;
    console.log(
      `${what}: ours ${told(mine)}; reference ${told(other)} = ${(other.wall / mine.wall).toFixed(2)}x, ` +
        `cpu ${(other.cpu / mine.cpu).toFixed(2)}x`,
    );
  }

  console.log("sizes in bytes; both packed by mksquashfs with zstd");
  for (const root of roots) {
    const request = root === "nginx" ? nginx : ffmpeg;
    sh("rm -rf ours theirs bench");
    sh(`${flix} --format dir -o ours dir:${root} ${request} && ${reference} ${root} ${request} theirs`);
    sh("for one in ours theirs; do mksquashfs $one $one.raw -all-root -noappend -comp zstd -quiet -no-progress; done");
    const folder = (who) => Number(sh(`du -sb ${who}`).split("\t")[0]);
    const [mine, other] = ["ours", "theirs"].map((who) => statSync(join(work, `${who}.raw`)).size);
    console.log(
      `${root}: image ${mine}, reference ${other}, ratio ${(mine / other).toFixed(3)}; ` +
        `folder ${folder("ours")}, reference ${folder("theirs")}, ratio ${(folder("ours") / folder("theirs")).toFixed(3)}`,
    );
  }
} finally {
  registry.kill();
  rmSync(work, { recursive: true, force: true });
}

/** Seconds of a command, and of all processes it started. */
function measure(command) {
  const [wall, user, system] = sh(`TIMEFORMAT='%R %U %S'; { time { ${command}; } >/dev/null 2>&1; } 2>&1`)
    .trim()
    .split("\n")
    .at(-1)
    .split(" ")
    .map(Number);
  return { wall, cpu: user + system };
}
