import { spawn } from "node:child_process";
import { Agent } from "node:http";
import { Duplex } from "node:stream";
import type { Context } from "../../core/context.ts";
import { printable } from "../../core/errors.ts";
import type { Engine } from "./endpoint.ts";

/** Where an engine is to be reached by the user's own `ssh`. */
export interface SshTarget {
  readonly host: string;
  readonly port?: number;
  readonly username?: string;
}

/**
 * Connections to an engine on another machine, as docker's own client makes them: `ssh HOST docker system dial-stdio`
 * for each. So the user's keys, known hosts and configuration count (docker-modem's ssh2 checks no host key).
 */
export function sshAgent(engine: Engine, target: SshTarget, env: Context["env"]): Agent {
  const { host, port, username } = target;
  const words = [
    ...["-T", "-o", "ConnectTimeout=30"],
    ...(username === undefined ? [] : ["-l", username]),
    ...(port === undefined ? [] : ["-p", `${port}`]),
    ...["--", host, engine, "system", "dial-stdio"],
  ];
  const agent = new Agent();
  agent.createConnection = () => dial(words, env);
  return agent;
}

/** A program's standard input and output as a connection, which breaks with its last words. */
function dial(words: readonly string[], env: Context["env"]): Duplex {
  const child = spawn("ssh", words, { env, stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  const connection = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk, _, done) => void child.stdin.write(chunk, () => done()),
    final: (done) => void child.stdin.end(() => done()),
    destroy: (error, done) => {
      child.kill();
      done(error);
    },
  });
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", (chunk: Buffer) => {
    if (!connection.push(chunk)) child.stdout.pause();
  });
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1000)));
  child.once("error", (error) => connection.destroy(error));
  child.once("close", (status) => {
    const last = said.trim().split("\n").at(-1) ?? "";
    if (status === 0 || connection.destroyed) connection.push(null);
    else connection.destroy(new Error(printable(last) || `ssh ended with status ${status}`));
  });
  return connection;
}
