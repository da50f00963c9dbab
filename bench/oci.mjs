// Times reading an image side by side with what a user would run instead, interleaved, in one run: a Debian root of
// about 750 MB in one layer, from docker-registry on loopback. Wall time and the CPU time of all processes (but the
// daemon's), the memory of the largest; and what a conversion takes beyond packing once the image is in the cache. As root
// docker is measured, too. A second image has that root three times, to see what memory does. Usage: node bench/oci.mjs [ROUNDS [ROOT.tar]]. Works in FLIXWRAP_BENCH_DIR, or the temporary folder.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [rounds = "3", given] = process.argv.slice(2);
const place = process.env.FLIXWRAP_BENCH_DIR ?? tmpdir();
const work = mkdtempSync(join(place, "flixwrap-bench-oci-"));
const flix = `node ${new URL("../dist/program/main.cjs", import.meta.url).pathname} flix --quiet`;
const library = new URL("../dist/oci/index.js", import.meta.url).href;
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

function shell(script) {
  const run = spawnSync("bash", ["-euo", "pipefail", "-c", script], { cwd: work, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`${script}\n${run.stderr}`);
  return run.stdout;
}

/** Seconds of wall and CPU, and MiB at most, of a script in a fresh folder `out`. */
function time(script) {
  rmSync(join(work, "out"), { recursive: true, force: true });
  mkdirSync(join(work, "out"));
  const wrapped = ["-q", "-o", join(work, "times"), "-f", "%e %U %S %M", "bash", "-euo", "pipefail", "-c", script];
  const run = spawnSync("/usr/bin/time", wrapped, { cwd: work, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`${script}\n${run.stderr}`);
  const [wall, user, system, memory] = readFileSync(join(work, "times"), "utf8").trim().split(" ").map(Number);
  return { wall, cpu: user + system, memory: memory / 1024 };
}

const ours = (what, cache) =>
  `node --input-type=module -e '
    import { openImage, parseReference, pullImage } from "${library}";
    const options = { cacheDir: "${cache}", context: { signal: new AbortController().signal, env: process.env, emit: () => undefined } };
    ${what}'`;

/** A dockerd of our own, in namespaces that end with it; its tests are test/support/engines.ts. */
async function startDocker() {
  if (process.getuid() !== 0) return undefined;
  const script = `mount -t tmpfs tmpfs /run; dockerd --data-root ${work}/docker --exec-root ${work}/exec --host unix://${work}/docker.sock \
    --pidfile ${work}/pid --bridge none --iptables=false --storage-driver overlay2 > ${work}/docker.log 2>&1`;
  const isolation = "--mount --propagation private --pid --fork --kill-child --mount-proc".split(" ");
  const child = spawn("unshare", [...isolation, "bash", "-c", script], { stdio: "ignore" });
  const ready = `for n in $(seq 100); do curl -sf --unix-socket docker.sock http://x/_ping && exit; sleep 0.1; done; exit 1`;
  if (spawnSync("bash", ["-c", ready], { cwd: work }).status === 0) return child;
  child.kill("SIGKILL");
  console.log("dockerd does not run here, it is not measured");
  return undefined;
}

let registry;
let docker;
try {
  const root = given ?? join(tmpdir(), "flixwrap-bench-root.tar");
  if (!existsSync(root)) {
    shell(
      `mmdebstrap -q --format=tar --variant=minbase --include=nginx,python3,git,ffmpeg,curl bookworm ${root}.part; mv ${root}.part ${root}`,
    );
  }
  const port = await new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port: free } = server.address();
      server.close(() => resolve(free));
    });
  });
  writeFileSync(
    join(work, "registry.yml"),
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${work}/data } }\nhttp: { addr: "127.0.0.1:${port}" }\n`,
  );
  registry = spawn("docker-registry", ["serve", join(work, "registry.yml")], { stdio: "ignore" });
  shell(`
    umoci init --layout layout; umoci new --image layout:t; umoci raw add-layer --image layout:t ${root}
    for n in $(seq 50); do curl -sf http://127.0.0.1:${port}/v2/ > /dev/null && break; sleep 0.1; done
    skopeo copy -q --dest-tls-verify=false oci:layout:t docker://127.0.0.1:${port}/big:t; rm -rf layout`);
  const image = `127.0.0.1:${port}/big:t`;
  const { layers } = JSON.parse(
    shell(
      `curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://127.0.0.1:${port}/v2/big/manifests/t`,
    ),
  );
  const blob = `http://127.0.0.1:${port}/v2/big/blobs/${layers[0].digest}`;
  shell(`curl -sf ${blob} -o layer.gz`);
  // The same root three times, each below another folder.
  shell("umoci init --layout layout; umoci new --image layout:t");
  shell(`mkdir -p below/copy; tar -xpf ${root} --numeric-owner -C below/copy`);
  for (const n of [1, 2, 3]) {
    shell(
      `mv below/* below/copy-${n}; tar -C below -cf more.tar .; umoci raw add-layer --image layout:t more.tar; rm more.tar`,
    );
  }
  shell("rm -rf below");
  shell(`skopeo copy -q --dest-tls-verify=false oci:layout:t docker://127.0.0.1:${port}/three:t; rm -rf layout`);
  const kept = join(work, "kept");
  const three = `127.0.0.1:${port}/three:t`;
  const open = `const { close } = await openImage(parseReference("${image}"), options); close();`;
  const rows = {
    "index, cold": ours(open, "out/cache"),
    "index, warm": ours(open, kept),
    "pull to a folder, cold": ours(`await pullImage("${image}", "out/root", options);`, "out/cache"),
    "pull to a folder, warm": ours(`await pullImage("${image}", "out/root", options);`, kept),
    "three times as much, index, cold": ours(open.replace(image, three), "out/cache"),
    "three times as much, to a folder, cold": ours(`await pullImage("${three}", "out/root", options);`, "out/cache"),
    "flix, warm, but for packing": `${flix} --dry-run --cache-dir ${kept} ${image} nginx /usr/sbin/nginx > /dev/null 2>&1`,
    "gzip -dc > file": "gzip -dc layer.gz > out/file",
    "skopeo copy + umoci unpack": `skopeo copy -q --src-tls-verify=false docker://${image} oci:out/l:t; umoci unpack --image out/l:t out/b > /dev/null 2>&1`,
    "curl | gzip -dc | tar x": `curl -sf ${blob} | gzip -dc | tar -xpf - --numeric-owner -C out`,
    "curl | tee sha256 | gzip -dc | tar x": `curl -sf ${blob} | tee >(sha256sum > sum) | gzip -dc | tar -xpf - --numeric-owner -C out`,
  };
  docker = await startDocker();
  if (docker !== undefined) {
    rows["docker pull + create + export | tar x"] =
      `export DOCKER_HOST=unix://${work}/docker.sock; docker pull -q ${image} > /dev/null
      docker create --name made ${image} x > /dev/null; docker export made | tar -xpf - --numeric-owner -C out; docker rm made > /dev/null; docker rmi ${image} > /dev/null`;
  }
  spawnSync("bash", ["-c", rows["index, warm"]], { cwd: work });
  const times = Object.fromEntries(Object.keys(rows).map((name) => [name, []]));
  for (let round = 0; round < Number(rounds); round++) {
    for (const [name, script] of Object.entries(rows)) {
      if (round === 0 || !name.startsWith("three times")) times[name].push(time(script));
    }
  }
  const of = (name, field) => median(times[name].map((one) => one[field]));
  for (const name of Object.keys(rows)) {
    const [wall, cpu, memory] = ["wall", "cpu", "memory"].map((field) => of(name, field));
    console.log(
      `${name.padEnd(38)} ${wall.toFixed(2).padStart(6)} s  cpu ${cpu.toFixed(2).padStart(6)} s  ${memory.toFixed(0)} MiB`,
    );
  }
  const ratio = (a, b) =>
    `wall ${(of(a, "wall") / of(b, "wall")).toFixed(2)}, cpu ${(of(a, "cpu") / of(b, "cpu")).toFixed(2)}`;
  console.log(`pull / (skopeo + umoci): ${ratio("pull to a folder, cold", "skopeo copy + umoci unpack")} (goal 0.50)`);
  console.log(`index / (gzip -dc > file): ${ratio("index, cold", "gzip -dc > file")} (goal 1.30)`);
  console.log(`flix, warm, but for packing: ${of("flix, warm, but for packing", "wall").toFixed(2)} s (goal 0.50)`);
} finally {
  docker?.kill("SIGKILL");
  registry?.kill();
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
}
