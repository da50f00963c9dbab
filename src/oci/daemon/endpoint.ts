import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import type { SshTarget } from "./ssh-agent.ts";

/** The daemons that are known. */
export type Engine = "docker" | "podman";

/** Where an engine's API answers: dockerode's options, or a machine to be reached by ssh. */
export type Endpoint =
  | { readonly socketPath: string }
  | {
      readonly protocol: "http" | "https";
      readonly host: string;
      readonly port: number;
      readonly ca?: Buffer;
      readonly cert?: Buffer;
      readonly key?: Buffer;
    }
  | { readonly ssh: SshTarget };

/**
 * Finds an engine as its own command-line program does: `DOCKER_HOST`, the chosen context, the usual sockets; for
 * podman `CONTAINER_HOST` and its sockets.
 * @throws FlixwrapError `oci-no-daemon`.
 */
export function findEndpoint(engine: Engine, env: Context["env"]): Endpoint {
  const named = engine === "docker" ? env.DOCKER_HOST : env.CONTAINER_HOST;
  if (named) return parseEndpoint(named, env.DOCKER_TLS_VERIFY ? env.DOCKER_CERT_PATH : undefined);
  const context = engine === "docker" ? readContext(env) : undefined;
  if (context !== undefined) return parseEndpoint(context.host, context.tls);
  const runtime = env.XDG_RUNTIME_DIR;
  const sockets =
    engine === "docker"
      ? ["/var/run/docker.sock", runtime && `${runtime}/docker.sock`, env.HOME && `${env.HOME}/.docker/run/docker.sock`]
      : [runtime && `${runtime}/podman/podman.sock`, "/run/podman/podman.sock"];
  const found = sockets.find((path) => path !== undefined && path !== "" && existsSync(path));
  if (found) return { socketPath: found };
  throw new FlixwrapError("oci-no-daemon", {
    what: `${engine} does not run, or its API has no socket here`,
    hint:
      engine === "docker"
        ? "start it, or name it with DOCKER_HOST"
        : "start it with systemctl --user start podman.socket, or name it with CONTAINER_HOST",
    items: sockets.filter((path) => path !== undefined && path !== "").map((path) => `looked for ${path}`),
  });
}

function parseEndpoint(text: string, certificates: string | undefined): Endpoint {
  if (text.startsWith("unix://")) return { socketPath: text.slice("unix://".length) };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const host = url?.hostname.replace(/^\[|\]$/g, "");
  if (url !== undefined && host && ["tcp:", "http:", "https:"].includes(url.protocol)) {
    const tls = certificates === undefined ? {} : readCertificates(certificates);
    const protocol = url.protocol === "https:" || certificates !== undefined ? "https" : "http";
    return { protocol, host, port: Number(url.port || (protocol === "https" ? 2376 : 2375)), ...tls };
  }
  if (url !== undefined && host && url.protocol === "ssh:") {
    const username = decodeURIComponent(url.username);
    return { ssh: { host, ...(url.port && { port: Number(url.port) }), ...(username && { username }) } };
  }
  throw new FlixwrapError("oci-no-daemon", {
    what: "not the address of a daemon",
    got: text,
    wanted: "unix://PATH, tcp://HOST:PORT or ssh://USER@HOST",
  });
}

function readCertificates(folder: string): { ca: Buffer; cert: Buffer; key: Buffer } {
  const read = (name: string): Buffer => {
    try {
      return readFileSync(join(folder, name));
    } catch (cause) {
      throw new FlixwrapError(
        "oci-no-daemon",
        { what: "cannot read the daemon's certificate", where: join(folder, name) },
        { cause },
      );
    }
  };
  return { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
}

/** docker's contexts: a name, and a folder called by its hash. */
function readContext(env: Context["env"]): { host: string; tls: string | undefined } | undefined {
  const folder = env.DOCKER_CONFIG ?? (env.HOME === undefined ? undefined : join(env.HOME, ".docker"));
  if (folder === undefined) return undefined;
  const readJson = (path: string): Record<string, unknown> => {
    try {
      return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    } catch {
      return {};
    }
  };
  const name = env.DOCKER_CONTEXT ?? readJson(join(folder, "config.json")).currentContext;
  if (typeof name !== "string" || name === "" || name === "default") return undefined;
  const hash = createHash("sha256").update(name).digest("hex");
  const meta = readJson(join(folder, "contexts/meta", hash, "meta.json")) as {
    Endpoints?: { docker?: { Host?: unknown } };
  };
  const host = meta.Endpoints?.docker?.Host;
  if (typeof host !== "string")
    throw new FlixwrapError("oci-no-daemon", { what: "no such docker context", where: name });
  const tls = join(folder, "contexts/tls", hash, "docker");
  return { host, tls: existsSync(join(tls, "ca.pem")) ? tls : undefined };
}
