import { Worker } from "node:worker_threads";
import { digestMismatch, splitDigest, type Digest, type DigestCheck } from "../digest.ts";
import { CHUNK } from "../file-source.ts";

/** A running digest whose work is done by another thread; `update` waits when that one falls behind. */
export interface ThreadedCheck {
  update(chunk: Uint8Array): Promise<void>;
  /** @throws FlixwrapError `oci-digest-mismatch`. */
  finish(): Promise<void>;
  close(): void;
}

/** Pieces of shared memory that are filled in turn: no garbage, and a bound on what is under way. */
const SLOTS = 4;

/** The whole program of the thread, as text: it must run from sources, from the built files and from a bundle. */
const program = `
  const { parentPort, workerData } = require("node:worker_threads");
  const hash = require("node:crypto").createHash(workerData.algorithm);
  const slots = workerData.slots.map((shared) => new Uint8Array(shared));
  parentPort.on("message", ({ slot, length }) => {
    if (slot !== undefined) hash.update(slots[slot].subarray(0, length));
    parentPort.postMessage(slot ?? hash.digest("hex"));
  });
`;

/** For layers that are large enough: starting a thread takes some 40 ms. */
export function checkDigestInThread(wanted: Digest, what: string): ThreadedCheck {
  const [algorithm] = splitDigest(wanted);
  const slots = Array.from({ length: SLOTS }, () => new SharedArrayBuffer(CHUNK));
  const memory = slots.map((shared) => new Uint8Array(shared));
  // Options of the program that imports us mean nothing to the thread.
  const worker = new Worker(program, { eval: true, workerData: { algorithm, slots }, execArgv: [] });
  const state: { free: number[]; failure?: Error; result?: string } = { free: slots.map((_, n) => n) };
  let wake = (): void => undefined;
  worker.on("message", (answer: number | string) => {
    if (typeof answer === "number") state.free.push(answer);
    else state.result = answer;
    wake();
  });
  worker.on("error", (error) => {
    state.failure = error;
    wake();
  });
  const until = async (condition: () => boolean): Promise<void> => {
    while (state.failure === undefined && !condition()) await new Promise<void>((resolve) => (wake = resolve));
    if (state.failure !== undefined) throw state.failure;
  };
  return {
    async update(chunk) {
      for (let at = 0; at < chunk.length; at += CHUNK) {
        await until(() => state.free.length > 0);
        const slot = state.free.pop()!;
        const piece = chunk.subarray(at, at + CHUNK);
        memory[slot]!.set(piece);
        worker.postMessage({ slot, length: piece.length }, []);
      }
    },
    async finish() {
      worker.postMessage({}, []);
      await until(() => state.result !== undefined);
      const got = `${algorithm}:${state.result}`;
      if (got !== wanted) throw digestMismatch(what, got, wanted);
    },
    close: () => void worker.terminate(),
  };
}

/** The same interface over a check in this thread. */
export const inThisThread = (check: DigestCheck): ThreadedCheck => ({
  update: async (chunk) => check.update(chunk),
  finish: async () => check.finish(),
  close: () => undefined,
});
