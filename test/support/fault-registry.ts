import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { atEnd } from "./at-end.ts";

export const sha256 = (bytes: string | Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** An image as documents and blobs in memory. */
export interface MadeImage {
  readonly manifest: Buffer;
  readonly digest: string;
  /** By digest, manifest included. */
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly layers: readonly string[];
}

export interface ImageChanges {
  readonly architecture?: string;
  readonly variant?: string;
  readonly compress?: (layer: Buffer) => Buffer;
  readonly layerType?: string;
  /** Merged over what is right. */
  readonly config?: object;
  readonly manifest?: object;
}

/** An OCI image of the given uncompressed layers. */
export function makeImage(layers: readonly Buffer[], changes: ImageChanges = {}): MadeImage {
  const { compress = gzipSync, layerType = "application/vnd.oci.image.layer.v1.tar+gzip" } = changes;
  const stored = layers.map((layer) => compress(layer));
  const config = Buffer.from(
    JSON.stringify({
      architecture: changes.architecture ?? "amd64",
      ...(changes.variant !== undefined && { variant: changes.variant }),
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map(sha256) },
      ...changes.config,
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: sha256(config),
        size: config.length,
      },
      layers: stored.map((layer) => ({ mediaType: layerType, digest: sha256(layer), size: layer.length })),
      ...changes.manifest,
    }),
  );
  const all = [config, manifest, ...stored];
  return {
    manifest,
    digest: sha256(manifest),
    blobs: new Map(all.map((bytes) => [sha256(bytes), bytes])),
    layers: stored.map(sha256),
  };
}

/** What goes wrong with one answer. */
export type Fault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** The connection breaks before the answer. */
  | { readonly kind: "refuse" }
  /** It breaks after so many bytes of the body. */
  | { readonly kind: "cut"; readonly after: number }
  /** Silence after so many bytes. */
  | { readonly kind: "stall"; readonly after: number }
  /** The body and its Content-Length are shorter by so much. */
  | { readonly kind: "short"; readonly by: number }
  /** More bytes than the blob has. */
  | { readonly kind: "long"; readonly by: number }
  /** One byte is another one. */
  | { readonly kind: "corrupt"; readonly at: number }
  /** The whole blob whatever range was asked for. */
  | { readonly kind: "no-range" }
  /** Another range than asked for. */
  | { readonly kind: "wrong-range" }
  /** One byte at a time. */
  | { readonly kind: "drip"; readonly pause: number }
  /** Headers without end, one at a time. */
  | { readonly kind: "slow-head"; readonly pause: number };

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export interface FaultRegistry {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  readonly asked: Asked[];
  /** Bytes of bodies that were written. */
  served: number;
  /** Names an image; `repository:tag`. */
  add(name: string, image: MadeImage): void;
  /** Serves bytes under a digest or a tag, whatever they are. */
  addRaw(key: string, bytes: Buffer, type?: string): void;
  /** Chooses the fault of each request; called in their order. */
  faults: (asked: Asked) => Fault | undefined;
  /** Answers a request altogether when it returns true. */
  intercept: (asked: Asked, response: ServerResponse, body: string) => boolean;
  close(): void;
}

/** A registry in this process that can do everything wrong. */
export async function startFaultRegistry(tls?: { key: Buffer; cert: Buffer }): Promise<FaultRegistry> {
  const contents = new Map<string, { bytes: Buffer; type: string }>();
  const server = tls === undefined ? createServer() : createSecureServer(tls);
  const registry: FaultRegistry = {
    address: "",
    asked: [],
    served: 0,
    add(name, image) {
      const [repository, tag] = name.split(":");
      const type = "application/vnd.oci.image.manifest.v1+json";
      for (const [digest, bytes] of image.blobs) contents.set(digest, { bytes, type });
      contents.set(`${repository}:${tag}`, { bytes: image.manifest, type });
    },
    addRaw: (key, bytes, type = "application/octet-stream") => void contents.set(key, { bytes, type }),
    faults: () => undefined,
    intercept: () => false,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const asked = { method: request.method!, path: request.url!, headers: request.headers };
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      registry.asked.push(asked);
      if (registry.intercept(asked, response, Buffer.concat(chunks).toString())) return;
      const [, repository, kind, name] = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(asked.path) ?? [];
      if (kind === undefined) {
        response.end("{}");
        return;
      }
      const found = contents.get(name!) ?? contents.get(`${repository}:${name}`);
      const fault = registry.faults(asked);
      if (fault?.kind === "refuse") request.socket.destroy();
      else if (fault?.kind === "slow-head") dripHead(request.socket, fault.pause);
      else if (fault?.kind === "status") response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
      else if (found === undefined) {
        const code = kind === "blobs" ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN";
        response.writeHead(404).end(JSON.stringify({ errors: [{ code, message: "unknown to us" }] }));
      } else answer(registry, asked, response, found.bytes, found.type, fault);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(() => registry.close());
  return Object.assign(registry, { address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function dripHead(socket: Socket, pause: number): void {
  socket.write("HTTP/1.1 200 OK\r\n");
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write("x: y\r\n")), pause);
}

function answer(
  registry: FaultRegistry,
  asked: Asked,
  response: ServerResponse,
  bytes: Buffer,
  type: string,
  fault: Fault | undefined,
): void {
  const wanted = Number(/^bytes=(\d+)-$/.exec(asked.headers.range ?? "")?.[1] ?? 0);
  const from = fault?.kind === "no-range" ? 0 : fault?.kind === "wrong-range" ? wanted + 1 : wanted;
  let body = bytes.subarray(from);
  if (fault?.kind === "corrupt") {
    const at = Math.min(fault.at, body.length - 1);
    body = Buffer.concat([body.subarray(0, at), Buffer.of(body[at]! ^ 0x55), body.subarray(at + 1)]);
  } else if (fault?.kind === "short") body = body.subarray(0, Math.max(0, body.length - fault.by));
  else if (fault?.kind === "long") body = Buffer.concat([body, Buffer.alloc(fault.by, 1)]);
  const isPart = wanted > 0 && fault?.kind !== "no-range";
  response.writeHead(isPart ? 206 : 200, {
    "content-type": type,
    "content-length": body.length,
    ...(asked.path.includes("/manifests/") && { "docker-content-digest": sha256(bytes) }),
    ...(isPart && { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (asked.method === "HEAD") {
    response.end();
    return;
  }
  const count = (chunk: Buffer): Buffer => {
    registry.served += chunk.length;
    return chunk;
  };
  if (fault?.kind === "cut") {
    response.write(count(body.subarray(0, fault.after)), () => setImmediate(() => response.destroy()));
  } else if (fault?.kind === "stall") {
    response.write(count(body.subarray(0, fault.after)));
  } else if (fault?.kind === "drip") {
    let at = 0;
    const timer = setInterval(() => {
      if (at >= body.length || response.destroyed) {
        clearInterval(timer);
        response.end();
      } else response.write(count(body.subarray(at, (at += 1))));
    }, fault.pause);
  } else response.end(count(body));
}
