import { X509Certificate, createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";
import { scratch, sh } from "./program.ts";

/** A token server as distribution's `auth: token` wants one, until the test file ends. */
export interface TokenRealm {
  /** Lines for the registry's configuration. */
  readonly settings: readonly string[];
  /** What was asked for, in order: `GET USER SCOPE`. */
  readonly asked: string[];
}

const service = "flixwrap-test";
const issuer = "flixwrap-test-realm";

/**
 * Everybody may pull what is below `public/`; `user` with `password`, or with the refresh token `refresh`, may do
 * all. Tokens: distribution/docs/spec/auth/jwt.md, signed by ES256 with the certificate in the header.
 */
export async function startTokenRealm(): Promise<TokenRealm> {
  const work = scratch();
  sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=realm -days 2 \
    -keyout ${work}/key.pem -out ${work}/cert.pem 2>&1`);
  const key = createPrivateKey(readFileSync(join(work, "key.pem")));
  const certificate = new X509Certificate(readFileSync(join(work, "cert.pem"))).raw.toString("base64");
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const tokenFor = (user: string | undefined, scopes: readonly string[]): string => {
    const access = scopes.map((scope) => {
      const [type = "", name = "", actions = ""] = scope.split(":");
      const allowed = actions
        .split(",")
        .filter((action) => user !== undefined || (name.startsWith("public/") && action === "pull"));
      return { type, name, actions: allowed };
    });
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now, nbf: now - 10, exp: now + 300 };
    const header = { typ: "JWT", alg: "ES256", x5c: [certificate] };
    const signed = `${encode(header)}.${encode({ iss: issuer, aud: service, sub: user ?? "", jti: `${now}`, access, ...times })}`;
    return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  const asked: string[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    const query =
      request.method === "POST" ? new URLSearchParams(body) : new URL(request.url!, "http://x").searchParams;
    const isRefreshed = query.get("grant_type") === "refresh_token" && query.get("refresh_token") === "refresh";
    const isKnown = request.headers.authorization === `Basic ${Buffer.from("user:password").toString("base64")}`;
    const isStranger = request.method === "GET" && request.headers.authorization === undefined;
    const user = isRefreshed || isKnown ? "user" : undefined;
    const scopes = query.getAll("scope").flatMap((scope) => scope.split(" "));
    asked.push(`${request.method} ${user ?? "-"} ${scopes.join(" ")}`);
    if (query.get("service") !== service || !(user || isStranger)) response.writeHead(401).end();
    else {
      const name = request.method === "POST" ? "access_token" : "token";
      response.end(JSON.stringify({ [name]: tokenFor(user, scopes), expires_in: 300 }));
    }
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => answer(request, response, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  return {
    settings: [
      `auth: { token: { realm: "${realm}", service: "${service}", issuer: "${issuer}", rootcertbundle: "${work}/cert.pem" } }`,
    ],
    asked,
  };
}
