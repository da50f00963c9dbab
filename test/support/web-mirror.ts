import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { standIn, type StandInArchitecture } from "./stand-in.ts";

/** A member of an archive: a stand-in program, a text, or a symlink. */
export type Member =
  | "program"
  | { readonly text: string; readonly mode?: number }
  | { readonly link: string }
  | { readonly archive: Members; readonly type: ArchiveKind };
export type Members = Readonly<Record<string, Member>>;
export type ArchiveKind = "tar.gz" | "tar.xz" | "tar.zst" | "zip" | "deb";

/** An archive of the given shape, made by the usual tools. */
export function buildArchive(members: Members, kind: ArchiveKind, architecture: StandInArchitecture): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "flixwrap-archive-"));
  const inside = join(folder, "inside");
  mkdirSync(inside);
  try {
    for (const [path, member] of Object.entries(members)) writeMember(join(inside, path), member, architecture);
    const file = join(folder, "out");
    if (kind === "zip") execFileSync("zip", ["-qry", file, "."], { cwd: inside });
    else if (kind === "deb") buildDeb(folder, inside, file);
    else execFileSync("tar", ["-C", inside, "-c", "-f", file, compressors[kind], "--owner=1001", "--group=127", "."]);
    return readFileSync(kind === "zip" ? `${file}.zip` : file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const compressors = { "tar.gz": "-z", "tar.xz": "-J", "tar.zst": "--zstd" } as const;

function writeMember(path: string, member: Member, architecture: StandInArchitecture): void {
  mkdirSync(dirname(path), { recursive: true });
  if (member === "program") {
    writeFileSync(path, standIn(architecture));
    chmodSync(path, 0o755);
  } else if ("link" in member) symlinkSync(member.link, path);
  else if ("archive" in member) writeFileSync(path, buildArchive(member.archive, member.type, architecture));
  else writeFileSync(path, member.text, { mode: member.mode ?? 0o644 });
}

/** ar(1) with the three members of deb(5). */
function buildDeb(folder: string, inside: string, file: string): void {
  writeFileSync(join(folder, "debian-binary"), "2.0\n");
  execFileSync("tar", ["-C", folder, "-cJf", join(folder, "control.tar.xz"), "debian-binary"]);
  execFileSync("tar", ["-C", inside, "-cJf", join(folder, "data.tar.xz"), "."]);
  execFileSync("ar", ["rc", file, "debian-binary", "control.tar.xz", "data.tar.xz"], { cwd: folder });
}

export const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** What an address answers: a body, or whatever the function does. */
export type Answer = string | Uint8Array | ((request: IncomingMessage, response: ServerResponse) => void);

export interface WebMirror {
  /** `*=TO` of `--mirror`. */
  readonly base: string;
  /** Every request's address, in order. */
  readonly log: string[];
  set(address: string, answer: Answer): void;
  remove(address: string): void;
  close(): Promise<void>;
}

/** A server on the loopback that answers for every host: `/HOST/PATH`; ETags and ranges as real ones have them. */
export async function openWebMirror(): Promise<WebMirror> {
  const answers = new Map<string, Answer>();
  const log: string[] = [];
  const server = createServer((request, response) => {
    const address = `https:/${request.url}`;
    log.push(address);
    const answer = answers.get(address);
    if (answer === undefined) {
      response.writeHead(404).end("not here");
    } else if (typeof answer === "function") answer(request, response);
    else sendBody(request, response, Buffer.from(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    log,
    set: (address, answer) => void answers.set(address, answer),
    remove: (address) => void answers.delete(address),
    close: () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections()),
  };
}

function sendBody(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const etag = `"${sha256(body).slice(0, 16)}"`;
  if (request.headers["if-none-match"] === etag) return void response.writeHead(304).end();
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  if (range !== null && request.headers["if-range"] === etag) {
    const from = Number(range[1]);
    response.writeHead(206, {
      etag,
      "content-range": `bytes ${from}-${body.length - 1}/${body.length}`,
      "content-length": body.length - from,
    });
    return void response.end(body.subarray(from));
  }
  response.writeHead(200, { etag, "content-length": body.length }).end(body);
}
