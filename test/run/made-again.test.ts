import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";
import { startRegistry } from "../support/registry.ts";

/** The command that `info` tells makes the same bytes again, wherever the image came from. */
const work = scratch();
sh(
  `echo 'int main(void) { return 0; }' > main.c && mkdir root && gcc -static -o root/tool main.c
   umoci init --layout layout && umoci new --image layout:x && umoci insert --rootless --image layout:x root / 2>&1
   skopeo copy -q oci:layout:x oci-archive:image.tar:x
   skopeo copy -q oci:layout:x docker-archive:saved.tar:name:x
   tar -cf root.tar -C root tool`,
  { cwd: work },
);
const registry = await startRegistry();
const pushed = registry.push(join(work, "root"), "tool:latest");
const env = { FLIXWRAP_CACHE_DIR: join(work, "cache") };
const run = (...args: string[]) => flixwrap(args, { env, cwd: work });

test.each([
  ["oci:layout:x"],
  ["./layout"],
  ["oci-archive:image.tar:x"],
  ["docker-archive:saved.tar"],
  ["./saved.tar"],
  ["tar:root.tar"],
  ["dir:root"],
  [pushed],
])("%s", (image) => {
  const options = ["--quiet", "--epoch", "86400"];
  expect(run("flix", ...options, "-o", "first.raw", image, "tool", "/tool:/usr/bin/tool").status).toBe(0);
  const { manifest } = JSON.parse(run("info", "--json", "first.raw").stdout) as {
    manifest: { image: string; command: string[] };
  };
  expect(run(...manifest.command.slice(1), "-o", "again.raw").stderr).not.toContain("flix:");
  expect(readFileSync(join(work, "again.raw")).equals(readFileSync(join(work, "first.raw")))).toBe(true);
  // A tag may mean another image tomorrow.
  expect(manifest.image).toMatch(image === pushed ? /^localhost:\d+\/tool@sha256:[0-9a-f]{64}$/ : image);
  sh("rm first.raw again.raw", { cwd: work });
});
