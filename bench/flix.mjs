// Times `flix` against the reference way (bench/reference-flix.sh) on the same images, interleaved, in one run: the best
// of some rounds, wall time and the processors' (user + system). A quiet machine is the caller's part.
// Usage: node bench/flix.mjs [ROUNDS [WORD]]: all cases, or those with the word in their name.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [rounds = 5, word = ""] = process.argv.slice(2);
const here = new URL(".", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
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
  makeRoot("ffmpeg", "ffmpeg");
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
      ours: `rm -rf cache; ${flix} -o ours.raw --cache-dir cache ${registryImage} ${nginx}`,
      theirs: `${reference} docker://${registryImage} ${nginx} theirs.raw`,
    },
    {
      what: "nginx from a registry, layers cached (the reference has no cache)",
      ours: `${flix} -o ours.raw --cache-dir cache ${registryImage} ${nginx}`,
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
  console.log(`best of ${rounds} interleaved rounds: seconds, and of the processors`);
  for (const { what, ...commands } of rows.filter((row) => row.what.includes(word))) {
    const best = new Map();
    for (let round = 0; round < rounds; round++) {
      for (const [who, command] of Object.entries(commands)) {
        // What the last round wrote is none of this one's work; neither is writing it to the disk.
        sh("rm -rf ours theirs bench; sync -f .");
        const time = measure(command);
        if (time.wall < (best.get(who)?.wall ?? Infinity)) best.set(who, time);
      }
    }
    const mine = best.get("ours");
    const told = [...best].map(([who, { wall, cpu }]) => {
      const ratio = who === "ours" ? "" : ` = ${(wall / mine.wall).toFixed(2)}x, cpu ${(cpu / mine.cpu).toFixed(2)}x`;
      return `${who === "theirs" ? "reference" : who} ${wall.toFixed(2)} (${cpu.toFixed(2)})${ratio}`;
    });
    console.log(`${what}: ${told.join("; ")}`);
  }

  console.log("sizes in bytes; both packed by mksquashfs with zstd");
  for (const [root, request] of [
    ["nginx", nginx],
    ["ffmpeg", ffmpeg],
  ]) {
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
