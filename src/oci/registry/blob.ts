import { FlixwrapError } from "../../core/errors.ts";
import { checkDigest } from "../digest.ts";
import type { Descriptor } from "../manifest.ts";
import type { HttpAnswer } from "../network/http.ts";
import { Passing } from "../network/retry.ts";
import { steadyChunks } from "../network/steady.ts";
import type { RegistryConnection } from "./connection.ts";

/** Places outside of the registry that are tried for one foreign layer. */
const MAX_PLACES = 8;

/**
 * A blob's bytes as they are stored, checked by size and digest at their end. A connection that breaks is taken up
 * again where it ended.
 * @throws FlixwrapError `oci-not-found`, `oci-size-mismatch`, `oci-digest-mismatch`, `oci-truncated` and those of
 *   {@link RegistryConnection.request}.
 */
export async function* streamBlob(connection: RegistryConnection, descriptor: Descriptor): AsyncGenerator<Uint8Array> {
  const { digest, size } = descriptor;
  const { host } = connection;
  const check = checkDigest(digest, `${digest} from ${host}`);
  let retries = connection.startRetries();
  let place = connection.urlOf("blobs", digest);
  const others = descriptor.urls.slice(0, MAX_PLACES);
  let done = 0;
  for (let isWhole = false; !isWhole;) {
    try {
      const answer = await connection.request("GET", place, done === 0 ? {} : { range: `bytes=${done}-` });
      for await (const chunk of bodyFrom(answer, done)) {
        done += chunk.length;
        if (done > size) throw tooLong(descriptor, host);
        check.update(chunk);
        yield chunk;
      }
      if (done < size) throw brokenOff(descriptor, done);
      isWhole = true;
    } catch (error) {
      const other = isNotFound(error) ? others.shift() : undefined;
      if (other !== undefined) {
        // A foreign layer, which registries need not keep: image-spec, "Non-Distributable Layers".
        place = connection.foreignUrl(other);
        retries = connection.startRetries();
        continue;
      }
      if (isNotFound(error) && descriptor.urls.length > 0) throw nowhere(descriptor, host);
      await retries.pause(connection.explain(error), done);
      // What is missing may be nothing: the connection broke behind the last byte.
      isWhole = done === size;
    }
  }
  check.finish();
}

/**
 * The rest of a blob from `offset`; a server that ignores the range sends everything, and we skip.
 * @throws Error `ETIMEDOUT` when fewer bytes come than a living connection would bring.
 */
async function* bodyFrom(answer: HttpAnswer, offset: number): AsyncGenerator<Buffer> {
  let skip = firstByte(answer, offset) === offset ? 0 : offset;
  try {
    for await (const chunk of steadyChunks(answer.body, answer.stall)) {
      const rest = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - rest.length;
      if (rest.length > 0) yield rest;
    }
  } finally {
    answer.body.destroy();
  }
}

/** Where in the blob the body begins: at `offset`, or at 0 when the server ignores ranges. */
function firstByte(answer: HttpAnswer, offset: number): number {
  if (answer.status !== 206) return 0;
  const range = answer.headers["content-range"] ?? "";
  const start = Number(/^bytes (\d+)-/.exec(range)?.[1]);
  if (start === offset) return offset;
  answer.body.destroy();
  throw new FlixwrapError("oci-registry", {
    what: "the registry sends another part of a blob than was asked for",
    where: answer.url.host,
    got: range || "no Content-Range",
    wanted: `bytes ${offset}-`,
  });
}

const isNotFound = (error: unknown): boolean => error instanceof FlixwrapError && error.code === "oci-not-found";

const nowhere = ({ digest, urls }: Descriptor, where: string): FlixwrapError =>
  new FlixwrapError("oci-not-found", {
    what: `the registry has no layer ${digest}, and it is not where the image says it would be`,
    where,
    items: urls,
  });

const brokenOff = ({ digest, size }: Descriptor, done: number): Passing =>
  new Passing(
    new FlixwrapError("oci-truncated", {
      what: `the registry sends only a part of ${digest}`,
      got: `${done} bytes`,
      wanted: `${size}`,
    }),
  );

const tooLong = ({ digest, size }: Descriptor, where: string): FlixwrapError =>
  new FlixwrapError("oci-size-mismatch", {
    what: `wrong size of ${digest}`,
    where,
    got: "more bytes",
    wanted: `${size}`,
  });
