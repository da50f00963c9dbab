import type Docker from "dockerode";
import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { openArchiveStream, type OpenedArchive } from "../archive.ts";
import type { Cache } from "../cache/cache.ts";
import { findEndpoint, type Engine } from "./endpoint.ts";
import { parseDigest } from "../digest.ts";
import { readDockerArchive } from "../docker-archive.ts";
import type { ImageConfig } from "../manifest.ts";
import type { ImageContents } from "../resolve.ts";

/**
 * An image that an engine has. What it tells of the image is enough while the cache has the layers; else all of
 * them are saved at once, as the API has it.
 * @throws FlixwrapError `oci-not-found`, `oci-no-daemon`, `oci-daemon`.
 */
export async function openDaemonImage(
  engine: Engine,
  name: string,
  cache: Cache,
  context: Context,
): Promise<{ readonly contents: ImageContents; close(): void }> {
  const docker = await connect(engine, context);
  const image = docker.getImage(name);
  const facts = await explained(engine, name, () => image.inspect());
  let saved: Promise<OpenedArchive> | undefined;
  const save = async (): Promise<OpenedArchive> => {
    const stream = await explained(engine, name, () => image.get());
    return await openArchiveStream(stream as AsyncIterable<Uint8Array>, `${engine}:${name}`, cache);
  };
  async function* layer(n: number): AsyncGenerator<Uint8Array> {
    const { files } = await (saved ??= save());
    yield* readDockerArchive(files, undefined).layers[n]!.stream();
  }
  const layers = (facts.RootFS.Layers ?? []).map((text, n) => {
    const diffId = parseDigest(text);
    return { diffId, name: `layer ${diffId.slice(0, 19)}`, size: 0, stream: () => layer(n) };
  });
  const config = configOf(facts);
  const digest = parseDigest(facts.Id.startsWith("sha256:") ? facts.Id : `sha256:${facts.Id}`);
  return {
    contents: { digest, config: { ...config, diffIds: layers.map(({ diffId }) => diffId) }, layers },
    close: () => void saved?.then((archive) => archive.close()).catch(() => undefined),
  };
}

/** Importing dockerode costs a quarter of a second: only here. */
export async function connect(engine: Engine, context: Context): Promise<Docker> {
  const endpoint = findEndpoint(engine, context.env);
  const { default: Client } = await import("dockerode");
  if (!("ssh" in endpoint)) return new Client(endpoint);
  const { sshAgent } = await import("./ssh-agent.ts");
  // The name only fills the Host header.
  const options = { protocol: "http", host: "engine", port: 80, agent: sshAgent(engine, endpoint.ssh, context.env) };
  return new Client(options as Docker.DockerOptions);
}

function configOf(facts: Docker.ImageInspectInfo): Omit<ImageConfig, "diffIds"> {
  const { Config: config, Os: os, Architecture: architecture } = facts;
  const { Variant: variant } = facts as { Variant?: string };
  const words = (value: string | readonly string[] | null | undefined): readonly string[] =>
    typeof value === "string" ? [value] : (value ?? []);
  return {
    ...(os && architecture && { platform: { os, architecture, ...(variant && { variant }) } }),
    env: config?.Env ?? [],
    entrypoint: words(config?.Entrypoint),
    cmd: words(config?.Cmd),
    workingDir: config?.WorkingDir ?? "",
    user: config?.User ?? "",
    labels: config?.Labels ?? {},
  };
}

/** The engine's own words for what went wrong. */
export async function explained<T>(engine: Engine, where: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const { statusCode, code, json, message } = error as NodeJS.ErrnoException & {
      statusCode?: number;
      json?: { message?: string };
    };
    if (error instanceof FlixwrapError) throw error;
    if (statusCode === 404) {
      const hint = `get it with ${engine} pull, or leave the prefix away to read the registry`;
      throw new FlixwrapError("oci-not-found", { what: `${engine} has no such image`, where, hint }, { cause: error });
    }
    const denied = code === "EACCES";
    throw new FlixwrapError(
      statusCode === undefined ? "oci-no-daemon" : "oci-daemon",
      {
        what: statusCode === undefined ? `cannot reach ${engine}` : `${engine} refuses`,
        where,
        got: json?.message ?? message,
        ...(denied && { hint: `become a member of its group, or run as root` }),
      },
      { cause: error },
    );
  }
}
