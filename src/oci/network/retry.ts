import { setTimeout as sleep } from "node:timers/promises";

/** How often, and how long to wait: milliseconds. */
export interface RetryPolicy {
  readonly tries: number;
  readonly firstDelay: number;
  readonly maxDelay: number;
  /** The longest Retry-After that is obeyed. */
  readonly maxAfter: number;
}

/** The policy, unless a caller has another one. */
export const usualRetries: RetryPolicy = { tries: 6, firstDelay: 250, maxDelay: 30_000, maxAfter: 300_000 };

/** A failure that may pass. `after`: milliseconds the server wants us to wait. */
export class Passing extends Error {
  readonly after: number | undefined;
  /** Fewer tries than the policy's for what rarely passes: a refused connection. */
  readonly tries: number;
  /** What to throw when it does not pass. */
  readonly final: Error;

  constructor(final: Error, options: { after?: number | undefined; tries?: number } = {}) {
    super(final.message, { cause: final });
    this.final = final;
    this.after = options.after;
    this.tries = options.tries ?? Number.POSITIVE_INFINITY;
  }
}

/** One piece of work and how often it has failed. */
export interface Retries {
  /**
   * Waits before the next try. `done`: bytes there are by now; enough of them since the last failure, and the
   * count of tries starts anew.
   * @throws the error itself, or what a {@link Passing} one ends in when it has not passed.
   */
  pause(error: unknown, done?: number): Promise<void>;
}

/** Less is no progress: a server that gives a byte for each connection must not hold us for ever. */
const MIN_PROGRESS = 64 << 10;

/** The retries of one piece of work; `signal` ends a pause. */
export function startRetries(policy: RetryPolicy, signal: AbortSignal): Retries {
  let failed = 0;
  let reached = 0;
  return {
    async pause(error, done = 0) {
      if (!(error instanceof Passing)) throw error;
      if (done - reached >= MIN_PROGRESS) {
        reached = done;
        failed = 0;
      }
      failed += 1;
      if (failed >= Math.min(policy.tries, error.tries)) throw error.final;
      // A spread of a fifth keeps many clients from coming back all at once.
      const usual = Math.min(policy.maxDelay, policy.firstDelay * 2 ** (failed - 1)) * (0.8 + 0.4 * Math.random());
      await sleep(Math.min(policy.maxAfter, error.after ?? usual), undefined, { signal });
    },
  };
}

/** Repeats `attempt` while it throws {@link Passing}, with growing pauses. */
export async function withRetries<T>(retries: Retries, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      await retries.pause(error);
    }
  }
}

/** Retry-After in milliseconds: seconds or an HTTP date (RFC 9110, 10.2.3). */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
