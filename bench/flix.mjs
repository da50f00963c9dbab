// Times `flix` against the reference way (bench/reference-flix.sh) on the same image, interleaved, in one run.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const rounds = Number(process.argv[2] ?? 5);
const here = new URL(".", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "flixwrap-bench-"));
const sh = (command) =>
  execFileSync("bash", ["-euo", "pipefail", "-c", command], {
    cwd: work,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
const packages = (process.argv[3] ?? "nginx-light").split(",");
const program = process.argv[4] ?? "/usr/sbin/nginx";

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
  sh(
    `mmdebstrap --quiet --variant=extract --include=${packages.join(",")} $(. /etc/os-release; echo $VERSION_CODENAME) root 2>/dev/null`,
  );
  sh("umoci init --layout layout && umoci new --image layout:x && umoci insert --image layout:x root / 2>&1");
  sh(`for i in $(seq 50); do curl -sf http://127.0.0.1:${port}/v2/ >/dev/null && break; sleep 0.1; done`);
  sh(`skopeo copy --quiet --dest-tls-verify=false oci:layout:x docker://localhost:${port}/bench:x`);

  const flix = `node ${here}../dist/program/main.cjs flix --quiet -o ${work}/ours.raw`;
  const reference = `bash ${here}reference-flix.sh`;
  const rows = [
    {
      what: "from a registry, nothing cached",
      ours: `rm -rf cache; ${flix} --cache-dir cache localhost:${port}/bench:x bench ${program}`,
      theirs: `${reference} docker://localhost:${port}/bench:x bench ${program} ${work}/theirs.raw`,
    },
    {
      what: "from a registry, layers cached (the reference has no cache)",
      ours: `${flix} --cache-dir cache localhost:${port}/bench:x bench ${program}`,
      theirs: `${reference} docker://localhost:${port}/bench:x bench ${program} ${work}/theirs.raw`,
    },
    {
      what: "from a folder",
      ours: `${flix} dir:root bench ${program}`,
      theirs: `${reference} root bench ${program} ${work}/theirs.raw`,
    },
  ];
  console.log(`${packages.join(" ")} ${program}: median of ${rounds} interleaved rounds, seconds`);
  for (const { what, ours, theirs } of rows) {
    const times = { ours: [], theirs: [] };
    for (let round = 0; round < rounds; round++) {
      for (const [who, command] of [
        ["ours", ours],
        ["theirs", theirs],
      ]) {
        const start = process.hrtime.bigint();
        sh(command);
        times[who].push(Number(process.hrtime.bigint() - start) / 1e9);
      }
    }
    const [mine, other] = [median(times.ours), median(times.theirs)];
    console.log(`${what}: flix ${mine.toFixed(2)}, reference ${other.toFixed(2)}, ratio ${(mine / other).toFixed(2)}`);
  }
  const [mine, other] = ["ours", "theirs"].map((who) => statSync(join(work, `${who}.raw`)).size);
  console.log(`image: flix ${mine} bytes, reference ${other} bytes, ratio ${(mine / other).toFixed(3)}`);
} finally {
  registry.kill();
  rmSync(work, { recursive: true, force: true });
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
