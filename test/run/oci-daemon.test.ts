import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { describeTree } from "../support/describe-tree.ts";
import { sha256 } from "../support/fault-registry.ts";
import { scratch, sh } from "../support/program.ts";
import { file, folder, tar } from "../support/tar-bytes.ts";

/**
 * An engine's API in this process: the requests and answers are those of Docker Engine API 1.41, which the program
 * was also tried with by hand (dockerd 20.10, podman 4.3). So the tests need neither of them.
 */
const work = scratch();
const socket = join(work, "engine.sock");
const layer = tar(file("f", "x"), folder("etc"), file("etc/hosts", "own"));
const config = Buffer.from(
  JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [sha256(layer)] } }),
);
const saved = tar(
  file(
    "manifest.json",
    JSON.stringify([{ Config: `${sha256(config).slice(7)}.json`, RepoTags: ["x:t"], Layers: ["l/layer.tar"] }]),
  ),
  file(`${sha256(config).slice(7)}.json`, config),
  file("l/layer.tar", layer),
);
const id = "ab".repeat(32);
const imageId = `sha256:${"cd".repeat(32)}`;

let asked: string[];
let status: number;
let created: Record<string, unknown>;
let leftovers: object[];
/** One frame of an attached output: Docker Engine API, "Attach to a container", stream format. */
const frame = (stream: 1 | 2, text: string): Buffer => {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
};

function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const [path] = request.url!.split("?");
  const what = `${request.method} ${path}`;
  asked.push(what);
  const json = (value: unknown, code = 200): void =>
    void response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (what === "GET /images/x:t/json") {
    json({
      Id: sha256(config),
      Os: "linux",
      Architecture: "amd64",
      Config: { Env: ["A=b"], Cmd: ["/bin/sh"], Entrypoint: null, WorkingDir: "/w", User: "" },
      RootFS: { Type: "layers", Layers: [sha256(layer)] },
    });
  } else if (what === "GET /images/x:t/get") response.end(saved);
  else if (what === "GET /containers/json") json(leftovers);
  else if (what === "POST /images/create") response.end(`${JSON.stringify({ status: imageId })}\r\n`);
  else if (what === "POST /containers/create") {
    created = JSON.parse(body.toString()) as Record<string, unknown>;
    json({ Id: id }, 201);
  } else if (what === `POST /containers/${id}/start`) response.writeHead(204).end();
  else if (what === `POST /containers/${id}/attach`) {
    response.writeHead(200, { "content-type": "application/vnd.docker.raw-stream" });
    response.write(frame(1, "said out\nhalf "));
    response.write(frame(1, "line\n"));
    response.end(frame(2, status === 0 ? "" : "said err\nflixwrap-failed 2\n"));
  } else if (what === `POST /containers/${id}/wait`) json({ StatusCode: status });
  else if (what === `GET /containers/${id}/export`) {
    response.end(
      tar(
        file("f", "x"),
        file("made", "y"),
        file(".dockerenv", ""),
        file("etc/hosts", "engine's"),
        folder("dev"),
        file("dev/console", ""),
      ),
    );
  } else if (request.method === "DELETE") response.writeHead(204).end();
  else json({ message: `no such thing: ${path}` }, 404);
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => answer(request, response, Buffer.concat(chunks)));
});
await new Promise<void>((resolve) => server.listen(socket, resolve));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

let caches = 0;
let said: string[];
beforeEach(() => {
  [asked, said, status, created, leftovers] = [[], [], 0, {}, []];
  caches += 1;
});

async function open(
  reference: string,
  options: Partial<OpenOptions> = {},
  env: Record<string, string> = {},
): Promise<string[]> {
  const { rootfs, close } = await openImage(parseReference(reference), {
    context: quietContext({
      env: { PATH: process.env.PATH, DOCKER_HOST: `unix://${socket}`, CONTAINER_HOST: `unix://${socket}`, ...env },
      emit: (event) => (event.kind === "step" && event.step === "run" ? said.push(event.detail) : undefined),
    }),
    cacheDir: join(work, `cache-${caches}`),
    platform: "amd64",
    ...options,
  });
  const lines = describeTree(rootfs);
  close();
  return lines;
}
const whole = ["d /etc", "f /etc/hosts own", "f /f x"];
const root = join(work, "root.tar");
sh(
  `mkdir ${work}/r; cd ${work}/r; echo -n x > f; mkdir etc; echo -n own > etc/hosts; touch -d @0 . f etc/hosts etc; tar --owner=0 --group=0 --mode=a+rX,u+w,go-w --format=posix -cf ${root} .`,
);

describe.each(["docker-daemon", "podman"])("an image that %s has", (kind) => {
  it("is saved once, then read from the cache", async () => {
    expect(await open(`${kind}:x:t`)).toEqual(whole);
    expect(asked).toEqual(["GET /images/x:t/json", "GET /images/x:t/get"]);
    expect(await open(`${kind}:x:t`)).toEqual(whole);
    expect(asked.slice(2)).toEqual(["GET /images/x:t/json"]);
  });
  it("that it has not is told", async () => {
    await expect(open(`${kind}:none`)).rejects.toMatchObject({ code: "oci-not-found" });
  });
  it("that is for another platform is refused", async () => {
    await expect(open(`${kind}:x:t`, { platform: "arm64" })).rejects.toMatchObject({ code: "oci-no-platform" });
  });
});

it("an engine that does not answer is told", async () => {
  const env = { DOCKER_HOST: `unix://${work}/nobody.sock` };
  await expect(open("docker-daemon:x:t", {}, env)).rejects.toMatchObject({ code: "oci-no-daemon" });
});

describe("an engine behind ssh", () => {
  const bin = join(work, "bin");
  mkdirSync(bin);
  const pipe = `const s = require("net").connect(process.argv[1]); process.stdin.pipe(s); s.pipe(process.stdout)`;
  /** What the other machine's shell would do, and what ssh was asked. */
  const ssh = (action: string): void =>
    writeFileSync(join(bin, "ssh"), `#!/bin/sh\necho "$@" >> ${work}/ssh-asked\n${action}\n`, { mode: 0o755 });
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    DOCKER_HOST: "ssh://me@far.example:2222",
    CONTAINER_HOST: "ssh://far.example",
  };

  it.each(["docker", "podman"])("%s is reached by the user's own ssh", async (engine) => {
    rmSync(`${work}/ssh-asked`, { force: true });
    ssh(`exec ${process.execPath} -e '${pipe}' ${socket}`);
    expect(await open(`${engine === "docker" ? "docker-daemon" : "podman"}:x:t`, {}, env)).toEqual(whole);
    const words = engine === "docker" ? "-l me -p 2222 -- far.example docker" : "-- far.example podman";
    expect(new Set(readFileSync(`${work}/ssh-asked`, "utf8").trim().split("\n"))).toEqual(
      new Set([`-T -o ConnectTimeout=30 ${words} system dial-stdio`]),
    );
    expect(await open(root, { engine: engine as "docker", run: ["one"] }, env)).toContain("f /made y");
  });

  it.each([
    ["its last words", "echo 'Permission denied (publickey).' >&2; exit 255", /Permission denied \(publickey\)/],
    ["its status", "exit 7", /status 7/],
  ])("that refuses is told with %s", async (_, action, message) => {
    ssh(action);
    await expect(open("docker-daemon:x:t", {}, env)).rejects.toMatchObject({
      code: "oci-no-daemon",
      message: expect.stringMatching(message),
    });
  });
});

describe.each(["docker", "podman"] as const)("commands run by %s", (engine) => {
  const gone = [`DELETE /containers/${id}`, `DELETE /images/${imageId}`];

  it("change the root; what the engine put into it is undone, and it keeps nothing", async () => {
    const lines = await open(root, { engine, run: ["one", "two"] });
    expect(lines).toEqual(["d /etc", "f /etc/hosts own", "f /f x", "f /made y"]);
    expect(created).toMatchObject({
      Image: imageId,
      Cmd: ["one", "two"],
      User: "0:0",
      HostConfig: { NetworkMode: "host" },
    });
    expect(said).toEqual(["one; two", "said out", "half line"]);
    expect(asked.slice(-2)).toEqual(gone);
  });

  it("that fail are told with the command, its status and its lines, and it keeps nothing", async () => {
    status = 7;
    await expect(open(root, { engine, run: ["one", "two"] })).rejects.toMatchObject({
      code: "oci-run-failed",
      message: expect.stringMatching(
        /failed inside the image: two: got exit status 7\n {2}said out\n {2}half line\n {2}said err$/,
      ),
    });
    expect(asked.slice(-2)).toEqual(gone);
  });

  it("have no network when it is taken away", async () => {
    await open(root, { engine, run: ["one"], runNetwork: "none" });
    expect(created.HostConfig).toMatchObject({ NetworkMode: "none" });
  });

  it("begin with removing what a killed run left, and only that", async () => {
    const dead = "999999999-1-" + sh("readlink /proc/self/ns/pid | tr -dc 0-9");
    leftovers = [
      { Id: "dead", Labels: { "flixwrap.owner": dead }, ImageID: "old" },
      { Id: "foreign", Labels: { "flixwrap.owner": "1-1-1" }, ImageID: "theirs" },
    ];
    await open(root, { engine, run: ["one"] });
    expect(asked).toContain("DELETE /containers/dead");
    expect(asked).toContain("DELETE /images/old");
    expect(asked).not.toContain("DELETE /containers/foreign");
  });
});
