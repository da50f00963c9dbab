import { closeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import type Docker from "dockerode";
import { printable, interrupted } from "../../core/errors.ts";
import { parentOf, rootPath, type RootPath } from "../../core/paths.ts";
import { spool } from "../archive.ts";
import { connect, explained } from "./daemon.ts";
import type { Engine } from "./endpoint.ts";
import { isAlive, ownToken } from "../../host/process-token.ts";
import type { Rootfs } from "../rootfs.ts";
import { listen, runError, type ChangedRoot, type RunOptions } from "../run.ts";
import { writeTar } from "../tar/writer.ts";
import { putBack, undoChanges } from "../undo.ts";

/** What containers and images of ours bear, so that those of a killed run are found. */
const LABEL = "flixwrap.owner";

/** What an engine puts into every container, and `export` hands out with it. */
const injected = ["/.dockerenv", "/run/.containerenv", "/dev", "/proc", "/sys"];
const injectedFiles = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"];

/**
 * The same as `runInRoot`, by docker or podman: the root is imported as an image, a container of it runs the
 * commands and is exported. Container and image are removed whatever happens. An exported container has lost
 * the extended attributes of users (`user.*`).
 * @throws FlixwrapError `oci-run-failed`, `oci-no-daemon`, `oci-daemon`, `interrupted`.
 */
export async function runByEngine(
  rootfs: Rootfs,
  options: RunOptions & { readonly engine: Engine },
): Promise<ChangedRoot> {
  const { engine, cache, context } = options;
  const docker = await connect(engine, context);
  const ask = async <T>(question: () => Promise<T>): Promise<T> => await explained(engine, engine, question);
  await ask(async () => await removeLeftovers(docker));

  const reference = { repo: "localhost/flixwrap-run", tag: randomBytes(6).toString("hex") };
  let image: string | undefined;
  let container: Docker.Container | undefined;
  try {
    context.signal.throwIfAborted();
    const tar = Readable.from(writeTar(rootfs, rootfs.walk(rootPath("/"))));
    image = await ask(async () => await imported(docker, await docker.importImage(tar, reference)));
    const description = describeContainer(image, options);
    const made = await ask(async () => await docker.createContainer(description));
    container = made;
    await ask(async () => await runIn(docker, made, options));
    const exported = await ask(async () => await made.export());
    const { fd, source } = await spool(exported as AsyncIterable<Uint8Array>, "the exported container", cache);
    const name = `${rootfs.description} after its commands`;
    // Places below links of the image are left as the engine made them: it has looked where they lead.
    const places = [...injected, ...injectedFiles].map(rootPath).filter((place) => isPlain(rootfs, place));
    const changed = undoChanges(rootfs, source, name, (after) => putBack(rootfs, after, places));
    return { rootfs: changed, close: () => closeSync(fd) };
  } catch (error) {
    throw context.signal.aborted ? interrupted(error) : error;
  } finally {
    // Also after Ctrl-C: these requests are not aborted.
    await container?.remove({ force: true, v: true }).catch(ignored);
    if (image !== undefined) await docker.getImage(image).remove({ force: true }).catch(ignored);
  }
}

const ignored = (): void => undefined;

/** Whether the folder that holds a place is there and no link leads to it. */
const isPlain = (rootfs: Rootfs, place: RootPath): boolean =>
  rootfs.lookup(parentOf(place))?.type === "directory" && rootfs.lookup(parentOf(place))?.path === parentOf(place);

function describeContainer(image: string, { commands, config, network }: RunOptions): Docker.ContainerCreateOptions {
  // One container for all commands; the last line on standard error tells which of them failed.
  const loop = 'n=0; for c; do n=$((n+1)); /bin/sh -c "$c" || { s=$?; echo "flixwrap-failed $n" >&2; exit $s; }; done';
  return {
    Image: image,
    Entrypoint: ["/bin/sh", "-c", loop, "sh"],
    Cmd: [...commands],
    Env: ["DEBIAN_FRONTEND=noninteractive", ...config.env],
    WorkingDir: config.workingDir || "/",
    User: "0:0",
    Labels: { [LABEL]: ownToken() },
    HostConfig: { NetworkMode: network === "none" ? "none" : "host" },
  };
}

async function runIn(docker: Docker, container: Docker.Container, { commands, context }: RunOptions): Promise<void> {
  const listening = listen(commands.join("; "), context);
  let failed: string | undefined;
  const onLine = (line: string): void => {
    const n = /^flixwrap-failed (\d+)$/.exec(line)?.[1];
    if (n === undefined) listening.onLine(line);
    else failed = commands[Number(n) - 1];
  };
  const output = await container.attach({ stream: true, stdout: true, stderr: true });
  const lines = demultiplexed(docker, output, onLine);
  const stop = (): void => void container.kill().catch(() => undefined);
  context.signal.addEventListener("abort", stop);
  try {
    await container.start();
    const { StatusCode: status } = (await container.wait()) as { StatusCode: number };
    await lines;
    context.signal.throwIfAborted();
    if (status !== 0) throw listening.failed(status, failed);
  } finally {
    context.signal.removeEventListener("abort", stop);
  }
}

/** Ends when the stream does; every line of both outputs goes to `onLine`. */
async function demultiplexed(
  docker: Docker,
  output: NodeJS.ReadableStream,
  onLine: (line: string) => void,
): Promise<void> {
  const both = new PassThrough();
  docker.modem.demuxStream(output, both, both);
  output.on("end", () => both.end());
  output.on("error", () => both.end());
  let rest = "";
  for await (const chunk of both) {
    // A lone CR is how progress is drawn over itself.
    const lines = (rest + String(chunk)).split(/\r?\n|\r/);
    rest = lines.pop()!.slice(0, 4096);
    for (const line of lines) onLine(printable(line));
  }
  if (rest !== "") onLine(printable(rest));
}

/** The answer of an import is a stream of messages: an error, or in the end the image's id. */
async function imported(docker: Docker, stream: NodeJS.ReadableStream): Promise<string> {
  interface Message {
    readonly error?: string;
    readonly status?: string;
    readonly id?: string;
  }
  const messages = await new Promise<Message[]>((resolve, reject) => {
    docker.modem.followProgress(stream, (error, all: Message[]) => (error ? reject(error) : resolve(all)));
  });
  const problem = messages.find(({ error }) => error !== undefined)?.error;
  const words = messages.flatMap(({ status, id }) => [status ?? "", id ?? ""]).join(" ");
  const id = words.match(/(?:sha256:)?[0-9a-f]{64}/g)?.at(-1);
  if (problem !== undefined || id === undefined)
    throw runError(problem ?? "the engine did not take the root as an image");
  return id;
}

async function removeLeftovers(docker: Docker): Promise<void> {
  const filters = { label: [LABEL] };
  for (const { Id, Labels, ImageID } of await docker.listContainers({ all: true, filters })) {
    if (isAlive(Labels[LABEL] ?? "") !== false) continue;
    await docker
      .getContainer(Id)
      .remove({ force: true, v: true })
      .catch(() => undefined);
    await docker
      .getImage(ImageID)
      .remove({ force: true })
      .catch(() => undefined);
  }
}
