import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { Passing, parseRetryAfter, startRetries } from "../oci/network/retry.ts";
import type { DownloadCache } from "./cached-files.ts";
import type { Answer } from "./http.ts";
import { type Mirror, mirrorAddress } from "./mirrors.ts";

/** What pages and downloads of one run share. */
export interface Run {
  readonly cache: DownloadCache;
  readonly context: Context;
  readonly mirrors: readonly Mirror[];
  readonly offline: boolean;
  readonly tries: number;
  readonly pause: number;
}

/** GitHub's allowance is 60 questions an hour without a token; the token goes to its real API and nowhere else. */
export function authorization(url: string, { env }: Context): Record<string, string> {
  const token = env["GH_TOKEN"] || env["GITHUB_TOKEN"];
  return token && url.startsWith("https://api.github.com/") ? { authorization: `Bearer ${token}` } : {};
}

/**
 * Whether the server has the thing, whose body is then to be read.
 * @throws FlixwrapError `recipe-refused` for any other answer than yes and no, as {@link Passing} when it may be another one later.
 */
export function found(answer: Answer, address: string): boolean {
  if (answer.status === 200 || answer.status === 206) return true;
  answer.body.destroy();
  if (answer.status === 404 || answer.status === 410) return false;
  const limited = answer.headers["x-ratelimit-remaining"] === "0";
  const error = new FlixwrapError("recipe-refused", {
    what: limited ? "the server's hourly allowance is used up" : "the server refuses",
    where: address,
    got: `status ${answer.status}`,
    ...(limited && { hint: "set GH_TOKEN to a GitHub token" }),
  });
  const passes = !limited && (answer.status === 429 || answer.status >= 500);
  throw passes ? new Passing(error, { after: parseRetryAfter(answer.headers["retry-after"], Date.now()) }) : error;
}

/**
 * Broken connections, 429 and 5xx may pass; the longest wait between two tries is a minute. `done` tells how many
 * bytes are there after a failure, so that a download that gets on is not given up.
 */
export async function attempt<T>(
  run: Run,
  address: string,
  once: (url: string) => Promise<T>,
  done: () => number = () => 0,
): Promise<T> {
  const url = mirrorAddress(address, run.mirrors);
  const policy = { tries: run.tries, firstDelay: run.pause, maxDelay: 60_000, maxAfter: 60_000 };
  const retries = startRetries(policy, run.context.signal);
  for (;;) {
    try {
      return await once(url);
    } catch (error) {
      const passes = error instanceof FlixwrapError && error.code === "recipe-network";
      await retries.pause(passes ? new Passing(error) : error, done());
    }
  }
}

/** The error for what the cache does not have. */
export const notOffline = (address: string): FlixwrapError =>
  new FlixwrapError("recipe-offline", { what: "not in the cache", where: address, hint: "run once without --offline" });
