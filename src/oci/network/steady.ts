/** Bytes a second below which a connection is as good as dead. */
const MIN_RATE = 1024;

/**
 * A body's chunks as they come; only our waiting counts: whoever takes the bytes may be slower.
 * @throws Error with the code `ETIMEDOUT` when, over `stall` milliseconds, fewer bytes come than a living connection brings.
 */
export async function* steadyChunks(body: AsyncIterable<unknown>, stall: number): AsyncGenerator<Buffer> {
  const chunks = (body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let waited = 0;
  let received = 0;
  try {
    for (;;) {
      const asked = performance.now();
      const next = await chunks.next();
      if (next.done === true) return;
      waited += performance.now() - asked;
      received += next.value.length;
      if (waited > stall) {
        if (received < (waited / 1000) * MIN_RATE) throw Object.assign(new Error("too slow"), { code: "ETIMEDOUT" });
        waited = 0;
        received = 0;
      }
      yield next.value;
    }
  } finally {
    await chunks.return?.();
  }
}
