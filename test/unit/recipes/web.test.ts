import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ProgressEvent, quietContext } from "../../../src/core/context.ts";
import { mirrorAddress, parseMirror } from "../../../src/recipes/mirrors.ts";
import { openWeb, type Web, type WebOptions } from "../../../src/recipes/web.ts";
import { openWebMirror, sha256, type WebMirror } from "../../support/web-mirror.ts";

let mirror: WebMirror;
let cache: string;
beforeAll(async () => {
  mirror = await openWebMirror();
});
afterAll(() => mirror.close());
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "flixwrap-web-"));
  mirror.log.length = 0;
});
afterEach(() => rmSync(cache, { recursive: true, force: true }));

const web = (options: Partial<WebOptions> = {}, context = quietContext()): Web =>
  openWeb({ cache, mirrors: [{ from: "*", to: mirror.base }], pause: 1, tries: 3, ...options }, context);
const address = "https://example.org/tool-1.0.tgz";
const body = Buffer.from("x".repeat(300_000));
const digest = (bytes: Uint8Array) => ({ algorithm: "sha256" as const, hex: sha256(bytes), source: "a test" });

describe("artifact", () => {
  it("is downloaded once", async () => {
    mirror.set(address, body);
    const first = await web().artifact(address);
    const second = await web().artifact(address);
    expect(second).toEqual(first);
    expect(first).toMatchObject({ sha256: sha256(body), size: body.length });
    expect(readFileSync(first!.path).equals(body)).toBe(true);
    expect(mirror.log).toEqual([address]);
  });

  it("comes from the cache alone when offline", async () => {
    mirror.set(address, body);
    await expect(web({ offline: true }).artifact(address)).rejects.toThrow(/^not in the cache: .*without --offline/);
    await web().artifact(address);
    mirror.log.length = 0;
    expect(await web({ offline: true }).artifact(address)).toMatchObject({ size: body.length });
    expect(mirror.log).toEqual([]);
  });

  it("is resumed where a broken connection ended", async () => {
    const ranges: (string | undefined)[] = [];
    mirror.set(address, (incoming, response) => {
      ranges.push(incoming.headers.range);
      const from = Number(/bytes=(\d+)-/.exec(incoming.headers.range ?? "")?.[1] ?? 0);
      const head = from === 0 ? {} : { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` };
      response.writeHead(from === 0 ? 200 : 206, { etag: '"1"', "content-length": body.length - from, ...head });
      if (from > 0) return void response.end(body.subarray(from));
      response.write(body.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20));
    });
    const artifact = await web().artifact(address, digest(body));
    expect(artifact?.sha256).toBe(sha256(body));
    expect(ranges).toHaveLength(2);
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(readdirSync(join(cache, "partial"))).toEqual([]);
  });

  it("is begun anew when the file changed in between", async () => {
    let tries = 0;
    mirror.set(address, (_, response) => {
      tries += 1;
      // If-Range does not hold any more: the whole new file.
      response.writeHead(200, { etag: `"${tries}"`, "content-length": body.length });
      if (tries > 1) return void response.end(body);
      response.write("old".repeat(10_000), () => setTimeout(() => response.destroy(), 20));
    });
    expect((await web().artifact(address))?.sha256).toBe(sha256(body));
  });

  it.each([429, 500, 503])("is tried again after %i", async (status) => {
    let tries = 0;
    mirror.set(address, (_, response) => {
      tries += 1;
      if (tries < 3) response.writeHead(status).end();
      else response.end(body);
    });
    expect((await web().artifact(address))?.size).toBe(body.length);
    expect(tries).toBe(3);
  });

  it("is given up after some tries, with one clear line", async () => {
    mirror.set(address, (_, response) => void response.writeHead(503).end());
    await expect(web().artifact(address)).rejects.toThrow(
      /^the server refuses: https:\/\/example\.org\/tool-1\.0\.tgz: got status 503$/,
    );
    expect(mirror.log).toHaveLength(3);
  });

  it("is not asked for twice when refused for good", async () => {
    mirror.set(address, (_, response) => void response.writeHead(403).end());
    await expect(web().artifact(address)).rejects.toThrow(/status 403/);
    expect(mirror.log).toHaveLength(1);
  });

  it.each([404, 410])("is undefined after %i", async (status) => {
    mirror.set(address, (_, response) => void response.writeHead(status).end());
    expect(await web().artifact(address)).toBeUndefined();
  });

  it("is refused with another checksum, and nothing is kept", async () => {
    mirror.set(address, body);
    await expect(web().artifact(address, digest(Buffer.from("other")))).rejects.toThrow(
      /not what its checksum says.*got sha256:.*wanted sha256:.*\(a test\)/,
    );
    expect(readdirSync(cache)).toEqual(["partial"]);
    expect(readdirSync(join(cache, "partial"))).toEqual([]);
    expect((await web().artifact(address, digest(body)))?.size).toBe(body.length);
  });

  it("is checked by sha512 as well", async () => {
    mirror.set(address, body);
    const wrong = { algorithm: "sha512" as const, hex: "0".repeat(128), source: "a test" };
    await expect(web().artifact(address, wrong)).rejects.toThrow(/got sha512:[0-9a-f]{128}, wanted sha512:0{128}/);
  });

  it("is refused when upstream changed it under the same address", async () => {
    mirror.set(address, body);
    const artifact = await web().artifact(address);
    rmSync(artifact!.path);
    mirror.set(address, "other");
    await expect(web().artifact(address)).rejects.toThrow(/changed under the same version/);
  });

  it("is refused when upstream's checksum changed, even from the cache", async () => {
    mirror.set(address, body);
    await web().artifact(address, digest(body));
    await expect(web().artifact(address, digest(Buffer.from("other")))).rejects.toThrow(
      /changed under the same version/,
    );
  });

  it("is fetched once by two that want it at a time", async () => {
    mirror.set(address, body);
    const one = web();
    await Promise.all([one.artifact(address), one.artifact(address), web().artifact(address)]);
    expect(mirror.log).toEqual([address]);
  });

  it("follows redirects, but not from https to http and not for ever", async () => {
    mirror.set(
      "https://example.org/a",
      (_, response) => void response.writeHead(302, { location: `${mirror.base}/example.org/tool-1.0.tgz` }).end(),
    );
    mirror.set(address, body);
    expect((await web().artifact("https://example.org/a"))?.size).toBe(body.length);
    mirror.set(
      "https://example.org/b",
      (_, response) => void response.writeHead(302, { location: "/example.org/b" }).end(),
    );
    await expect(web().artifact("https://example.org/b")).rejects.toThrow(/more than 10 redirects/);
  });

  it.each([
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:a9fe:a9fe]/",
    "http://0.0.0.0:1/",
    "file:///etc/passwd",
  ])("follows no redirect to %s", async (location) => {
    mirror.set("https://example.org/c", (_, response) => void response.writeHead(302, { location }).end());
    await expect(web().artifact("https://example.org/c")).rejects.toMatchObject({
      code: location.startsWith("http") ? "oci-forbidden-address" : "recipe-address",
    });
  });

  it("tells how far it is", async () => {
    mirror.set(address, body);
    const events: ProgressEvent[] = [];
    await web({}, quietContext({ emit: (event) => void events.push(event) })).artifact(address);
    expect(events.at(-1)).toEqual({ kind: "progress", what: address, done: body.length, total: body.length });
  });

  it("ends with the run", async () => {
    const abort = new AbortController();
    mirror.set(address, (_, response) => {
      response.writeHead(200, { "content-length": 10 }).write("x");
      setTimeout(() => abort.abort(), 20);
    });
    await expect(web({}, quietContext({ signal: abort.signal })).artifact(address)).rejects.toMatchObject({
      code: "interrupted",
    });
  });

  it("says when nothing is there to talk to", async () => {
    const nowhere = openWeb(
      { cache, mirrors: [{ from: "*", to: "http://127.0.0.1:9" }], pause: 1, tries: 2 },
      quietContext(),
    );
    await expect(nowhere.artifact(address)).rejects.toThrow(
      /^cannot reach the server: http:\/\/127\.0\.0\.1:9\/example\.org\/tool-1\.0\.tgz: got .*ECONNREFUSED/,
    );
  });
});

describe("page", () => {
  const list = "https://api.github.com/repos/a/b/releases?per_page=100";

  it("is asked for anew, but not sent twice", async () => {
    let sent = 0;
    mirror.set(list, (incoming, response) => {
      if (incoming.headers["if-none-match"] === '"1"') return void response.writeHead(304).end();
      sent += 1;
      response
        .writeHead(200, { etag: '"1"', link: `<${list}&page=2>; rel="next", <${list}&page=9>; rel="last"` })
        .end("[]");
    });
    const expected = { text: "[]", next: `${list}&page=2` };
    expect(await web().page(list)).toEqual(expected);
    expect(await web().page(list)).toEqual(expected);
    expect(sent).toBe(1);
    expect(await web({ offline: true }).page(list)).toEqual(expected);
  });

  it("may change", async () => {
    mirror.set(list, "[1]");
    await web().page(list);
    mirror.set(list, "[2]");
    expect(await web().page(list)).toEqual({ text: "[2]" });
  });

  it("names the way out of a used-up allowance", async () => {
    mirror.set(list, (_, response) => void response.writeHead(403, { "x-ratelimit-remaining": "0" }).end());
    await expect(web().page(list)).rejects.toThrow(/allowance is used up.*set GH_TOKEN/);
  });

  it("never takes the token to a mirror", async () => {
    let seen: string | undefined;
    mirror.set(list, (incoming, response) => {
      seen = incoming.headers.authorization;
      response.end("[]");
    });
    await web({}, quietContext({ env: { GH_TOKEN: "secret" } })).page(list);
    expect(seen).toBeUndefined();
  });

  it("is no surprise when its record is damaged", async () => {
    mirror.set(list, "[1]");
    await web().page(list);
    for (const name of readdirSync(join(cache, "address"))) writeFileSync(join(cache, "address", name), "{");
    expect(await web().page(list)).toEqual({ text: "[1]" });
  });
});

describe("mirrors", () => {
  it.each([
    ["https://a.org/x/=http://m/", "https://a.org/x/y", "http://m/y"],
    ["*=http://m/all", "https://a.org/x/y?z=1", "http://m/all/a.org/x/y?z=1"],
    ["https://b.org=http://m", "https://a.org/x", "https://a.org/x"],
  ])("%s", (text, from, to) => expect(mirrorAddress(from, [parseMirror(text)])).toBe(to));

  it("takes the longest that fits", () => {
    const mirrors = ["*=http://any", "https://a.org/=http://one/", "https://a.org/x/=http://two/"].map(parseMirror);
    expect(mirrorAddress("https://a.org/x/y", mirrors)).toBe("http://two/y");
    expect(mirrorAddress("https://a.org/z", mirrors)).toBe("http://one/z");
  });

  it.each(["https://a.org", "a.org=http://m", "=x", "*=", "https://a.org=file:///x"])("refuses %s", (text) => {
    expect(() => parseMirror(text)).toThrow(/cannot read the mirror/);
  });
});

describe("proxies", () => {
  it("carries http, with credentials", async () => {
    const seen: unknown[] = [];
    const proxy = createServer((incoming, response) => {
      seen.push(incoming.url, incoming.headers["proxy-authorization"]);
      response.end("hello");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const env = { http_proxy: `http://u:p%40@127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const direct = openWeb({ cache, pause: 1, tries: 1 }, quietContext({ env }));
    expect(await direct.page("http://example.org/p")).toEqual({ text: "hello" });
    expect(seen).toEqual(["http://example.org/p", `Basic ${Buffer.from("u:p@").toString("base64")}`]);
    await new Promise((resolve) => proxy.close(resolve));
  });

  it("is asked for a tunnel to https, and its refusal is told", async () => {
    const seen: (string | undefined)[] = [];
    const proxy = createServer().on("connect", (incoming, socket) => {
      seen.push(incoming.url);
      socket.end("HTTP/1.1 407 No\r\n\r\n");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const env = { https_proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const direct = openWeb({ cache, pause: 1, tries: 1 }, quietContext({ env }));
    await expect(direct.page("https://example.org/")).rejects.toThrow(
      /cannot reach the server: https:\/\/example\.org\/: got the proxy 127.* does not connect: status 407/,
    );
    expect(seen).toEqual(["example.org:443"]);
    await new Promise((resolve) => proxy.close(resolve));
  });
});
