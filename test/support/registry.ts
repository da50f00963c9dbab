import { spawn } from "node:child_process";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";
import { scratch, sh } from "./program.ts";

/** Debian's docker-registry on loopback, until the test file ends. */
export interface TestRegistry {
  /** `localhost:PORT`. */
  readonly address: string;
  /** Lines of its access log so far: method, path, status. */
  requests(): readonly string[];
  /** Makes an image with `folder` as its one layer (by umoci), pushes it (by skopeo), gives its reference. */
  push(folder: string, name: string, options?: { readonly architecture?: string }): string;
}

/** `settings`: more lines of its configuration; `auth: …`. */
export async function startRegistry(settings: readonly string[] = []): Promise<TestRegistry> {
  const work = scratch();
  const port = await freePort();
  const address = `localhost:${port}`;
  writeFileSync(
    join(work, "registry.yml"),
    [
      "version: 0.1",
      "log: { level: error }",
      `storage: { filesystem: { rootdirectory: ${work}/data }, delete: { enabled: true } }`,
      `http: { addr: "127.0.0.1:${port}" }`,
      ...settings,
    ].join("\n"),
  );
  // A file, not a pipe: tests that wait synchronously for a program read it all the same.
  const log = join(work, "access.log");
  const file = openSync(log, "w");
  const registry = spawn("docker-registry", ["serve", join(work, "registry.yml")], { stdio: ["ignore", file, file] });
  atEnd(() => void registry.kill());
  await answering(port);
  return {
    address,
    requests: () =>
      [...readFileSync(log, "utf8").matchAll(/"([A-Z]+ \S+) HTTP\/1\.1" (\d+)/g)].map(
        ([, what, status]) => `${what} ${status}`,
      ),
    push(folder, name, { architecture } = {}) {
      const layout = join(work, `layout-${name.replaceAll(/[/:]/g, "-")}`);
      const image = `${layout}:x`;
      sh(
        `umoci init --layout ${layout} && umoci new --image ${image} && umoci insert --image ${image} ${folder} / 2>&1`,
      );
      if (architecture !== undefined) sh(`umoci config --image ${image} --architecture ${architecture}`);
      sh(`skopeo copy --quiet --dest-tls-verify=false oci:${image} docker://${address}/${name}`);
      return `${address}/${name}`;
    },
  };
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function answering(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await new Promise<boolean>((resolve) => {
      get({ host: "127.0.0.1", port, path: "/v2/" }, (response) => resolve(response.resume() !== undefined)).on(
        "error",
        () => resolve(false),
      );
    });
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing answers on port ${port}`);
}
