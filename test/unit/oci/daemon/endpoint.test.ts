import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findEndpoint } from "../../../../src/oci/daemon/endpoint.ts";

const home = mkdtempSync(join(tmpdir(), "oci-endpoint-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const write = (path: string, content: string): void => {
  mkdirSync(dirname(join(home, path)), { recursive: true });
  writeFileSync(join(home, path), content);
};
for (const name of ["ca", "cert", "key"]) write(`certs/${name}.pem`, name);
// A context's folder is called by the sha256 of its name (docker's own rule).
const folder = createHash("sha256").update("far").digest("hex");
write(
  `.docker/contexts/meta/${folder}/meta.json`,
  JSON.stringify({ Name: "far", Endpoints: { docker: { Host: "tcp://far.example:2376" } } }),
);
write("chosen/config.json", JSON.stringify({ currentContext: "far" }));
write(
  `chosen/contexts/meta/${folder}/meta.json`,
  JSON.stringify({ Endpoints: { docker: { Host: "unix:///far.sock" } } }),
);
write("run/podman/podman.sock", "");
const pem = { ca: Buffer.from("ca"), cert: Buffer.from("cert"), key: Buffer.from("key") };

describe("where an engine answers", () => {
  it.each<["docker" | "podman", Record<string, string>, object]>([
    ["docker", { DOCKER_HOST: "unix:///x/y.sock" }, { socketPath: "/x/y.sock" }],
    ["docker", { DOCKER_HOST: "tcp://h.example:1234" }, { protocol: "http", host: "h.example", port: 1234 }],
    ["docker", { DOCKER_HOST: "tcp://h.example" }, { protocol: "http", host: "h.example", port: 2375 }],
    ["docker", { DOCKER_HOST: "tcp://[::1]:5" }, { protocol: "http", host: "::1", port: 5 }],
    [
      "docker",
      { DOCKER_HOST: "tcp://h.example", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: `${home}/certs` },
      { protocol: "https", host: "h.example", port: 2376, ...pem },
    ],
    [
      "docker",
      { DOCKER_HOST: "ssh://me@h.example:2222", SSH_AUTH_SOCK: "/agent" },
      { ssh: { host: "h.example", port: 2222, username: "me" } },
    ],
    ["docker", { DOCKER_HOST: "ssh://h.example" }, { ssh: { host: "h.example" } }],
    ["docker", { HOME: home, DOCKER_CONTEXT: "far" }, { protocol: "http", host: "far.example", port: 2376 }],
    ["docker", { DOCKER_CONFIG: `${home}/chosen` }, { socketPath: "/far.sock" }],
    ["podman", { CONTAINER_HOST: "unix:///p.sock", DOCKER_HOST: "unix:///d.sock" }, { socketPath: "/p.sock" }],
    ["podman", { XDG_RUNTIME_DIR: `${home}/run` }, { socketPath: `${home}/run/podman/podman.sock` }],
  ])("%s with %j", (engine, env, endpoint) => {
    expect(findEndpoint(engine, env)).toEqual(endpoint);
  });

  it.each<["docker" | "podman", Record<string, string>, RegExp]>([
    ["docker", { DOCKER_HOST: "nonsense" }, /not the address of a daemon: got nonsense/],
    ["docker", { DOCKER_HOST: "fd://3" }, /not the address of a daemon/],
    ["docker", { HOME: home, DOCKER_CONTEXT: "none" }, /no such docker context: none/],
    [
      "docker",
      { DOCKER_HOST: "tcp://h", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: `${home}/nowhere` },
      /cannot read the daemon's certificate/,
    ],
  ])("%s not with %j", (engine, env, message) => {
    expect(() => findEndpoint(engine, env)).toThrow(message);
  });
});
