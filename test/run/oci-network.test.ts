import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, request as ask } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { describeTree } from "../support/describe-tree.ts";
import { makeImage, startFaultRegistry } from "../support/fault-registry.ts";
import { scratch, sh } from "../support/program.ts";
import { freePort } from "../support/registry.ts";
import { file, tar } from "../support/tar-bytes.ts";

const work = scratch();
sh(`cd ${work}
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=test-ca -days 2 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=registry.test 2>/dev/null
  printf 'subjectAltName=DNS:registry.test,IP:127.0.0.1' > names
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names 2>/dev/null`);
const plain = await startFaultRegistry();
const secure = await startFaultRegistry({
  key: readFileSync(join(work, "server.key")),
  cert: readFileSync(join(work, "server.crt")),
});
const image = makeImage([tar(file("f", "x"))]);
const other = makeImage([tar(file("g", "other"))]);
for (const one of [plain, secure]) one.add("ns/app:t", image);
plain.add("mirrored/app:t", other);
plain.add("mirrored/deep/app:t", image);
const securePort = secure.address.split(":")[1]!;

let home: string;
let notices: string[];
beforeEach(() => {
  home = mkdtempSync(join(work, "home-"));
  notices = [];
  for (const one of [plain, secure]) {
    one.asked.length = 0;
    one.faults = () => undefined;
  }
});

async function pull(
  name: string,
  options: Partial<OpenOptions> = {},
  env: Record<string, string> = {},
): Promise<string[]> {
  const { rootfs, close } = await openImage(parseReference(name), {
    context: quietContext({
      env: { HOME: home, ...env },
      emit: (event) => (event.kind === "notice" ? notices.push(event.message) : undefined),
    }),
    cacheDir: join(home, "cache"),
    platform: "amd64",
    retries: { tries: 1, firstDelay: 1, maxDelay: 1, maxAfter: 1 },
    ...options,
  });
  const lines = describeTree(rootfs);
  close();
  return lines;
}

describe("TLS", () => {
  const name = `${secure.address}/ns/app:t`;
  it("of a stranger is refused, with the remedy", async () => {
    await expect(pull(name)).rejects.toMatchObject({
      code: "oci-tls",
      message: expect.stringMatching(/cannot trust the registry: 127\.0\.0\.1:\d+: got .*; .*--tls-verify=false/),
    });
    expect(secure.asked).toEqual([]);
  });

  it.each<[string, (host: string) => Promise<string[]>]>([
    ["--ca-file", (host) => pull(host, { caFile: join(work, "ca.crt") })],
    ["SSL_CERT_FILE", (host) => pull(host, {}, { SSL_CERT_FILE: join(work, "ca.crt") })],
    ["--tls-verify=false", (host) => pull(host, { tlsVerify: false })],
    [
      "certs.d",
      (host) => {
        const folder = join(home, ".config/containers/certs.d", secure.address);
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, "ca.crt"), readFileSync(join(work, "ca.crt")));
        return pull(host);
      },
    ],
  ])("is trusted by %s", async (_, run) => {
    expect(await run(name)).toEqual(["f /f x"]);
  });

  it("does not go on without TLS", async () => {
    secure.faults = ({ path }) =>
      path.includes("/blobs/")
        ? { kind: "status", status: 307, headers: { location: `http://${plain.address}${path}` } }
        : undefined;
    await expect(pull(name, { caFile: join(work, "ca.crt") })).rejects.toMatchObject({ code: "oci-forbidden-address" });
    expect(plain.asked).toEqual([]);
  });

  it("with a file that is no certificate", async () => {
    await expect(pull(name, { caFile: join(work, "none") })).rejects.toMatchObject({ code: "oci-tls" });
  });
});

/** A proxy that sends everything to the two registries here, and remembers what it was asked. */
async function startProxy(): Promise<{ url: string; asked: string[]; login: (string | undefined)[]; refuse: number }> {
  const state = { url: "", asked: [] as string[], login: [] as (string | undefined)[], refuse: 0 };
  const server = createServer((request, response) => {
    state.asked.push(`${request.method} ${request.url}`);
    state.login.push(request.headers["proxy-authorization"]);
    const [host, port] = plain.address.split(":");
    const path = new URL(request.url!).pathname;
    ask({ host, port, path, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    }).end();
  });
  server.on("connect", (request, socket, head) => {
    state.asked.push(`CONNECT ${request.url}`);
    state.login.push(request.headers["proxy-authorization"]);
    if (state.refuse > 0) {
      socket.end(`HTTP/1.1 ${state.refuse} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const target = connect(Number(securePort), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      target.write(head);
      target.pipe(socket).pipe(target);
    });
    target.on("error", () => socket.destroy());
    socket.on("error", () => target.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return state;
}

describe("a proxy", () => {
  it("carries TLS through a tunnel, whatever the name means here", async () => {
    const proxy = await startProxy();
    const lines = await pull(
      "registry.test/ns/app:t",
      { caFile: join(work, "ca.crt") },
      { HTTPS_PROXY: proxy.url.replace("//", "//user:p%40ss@") },
    );
    expect(lines).toEqual(["f /f x"]);
    expect(new Set(proxy.asked)).toEqual(new Set(["CONNECT registry.test:443"]));
    expect(proxy.login[0]).toBe(`Basic ${Buffer.from("user:p@ss").toString("base64")}`);
    expect(secure.asked.filter(({ headers }) => headers["proxy-authorization"] !== undefined)).toEqual([]);
  });

  it("carries plain HTTP", async () => {
    const proxy = await startProxy();
    const lines = await pull(
      "registry.test/ns/app:t",
      { tlsVerify: false },
      { http_proxy: proxy.url, https_proxy: `http://127.0.0.1:${await freePort()}` },
    );
    expect(lines).toEqual(["f /f x"]);
    expect(proxy.asked).toContain("HEAD http://registry.test/v2/ns/app/manifests/t");
  });

  it.each(["*", "registry.test", ".test", "other,registry.test:443"])(
    "is not used when no_proxy says %s",
    async (list) => {
      const proxy = await startProxy();
      await expect(
        pull("registry.test/ns/app:t", {}, { https_proxy: proxy.url, no_proxy: list }),
      ).rejects.toMatchObject({ code: "oci-unreachable" });
      expect(proxy.asked).toEqual([]);
    },
  );

  it.each(["registry.example", "test2", "registry.test:444", "10.0.0.0/8"])(
    "is used when no_proxy says %s",
    async (list) => {
      const proxy = await startProxy();
      await pull(
        "registry.test/ns/app:t",
        { caFile: join(work, "ca.crt") },
        { https_proxy: proxy.url, NO_PROXY: list },
      );
      expect(proxy.asked.length).toBeGreaterThan(0);
    },
  );

  it("is never used for this machine", async () => {
    const proxy = await startProxy();
    expect(await pull(`${plain.address}/ns/app:t`, {}, { http_proxy: proxy.url, all_proxy: proxy.url })).toEqual([
      "f /f x",
    ]);
    expect(proxy.asked).toEqual([]);
  });

  it("that refuses is told", async () => {
    const proxy = await startProxy();
    proxy.refuse = 407;
    await expect(pull("registry.test/ns/app:t", {}, { https_proxy: proxy.url })).rejects.toMatchObject({
      code: "oci-unreachable",
      message: expect.stringMatching(/the proxy 127\.0\.0\.1:\d+ does not connect: status 407/),
    });
  });

  it("of another kind is refused, without telling its password", async () => {
    const error = await pull("registry.test/ns/app:t", {}, { https_proxy: "socks5://user:secret@h:1" }).catch(String);
    expect(error).toMatch(/not a proxy this program can use: got socks5:\/\/…@h:1/);
    expect(error).not.toContain("secret");
  });
});

describe("registries.conf", () => {
  const conf = (text: string): Record<string, string> => {
    writeFileSync(join(home, "registries.conf"), text);
    return { CONTAINERS_REGISTRIES_CONF: join(home, "registries.conf") };
  };
  const mirrored = `[[registry]]
    prefix = "registry.test/ns"
    location = "registry.test/ns"
    [[registry.mirror]]
    location = "127.0.0.1:1/none"
    [[registry.mirror]]
    location = "${plain.address}/mirrored"
    insecure = true`;

  it("sends to the first mirror that has the image, and says which were passed over", async () => {
    expect(await pull("registry.test/ns/app:t", {}, conf(mirrored))).toEqual(["f /g other"]);
    expect(await pull("registry.test/ns/deep/app:t", {}, conf(mirrored))).toEqual(["f /f x"]);
    expect(notices[0]).toMatch(/the mirror 127\.0\.0\.1:1 is passed over: cannot reach/);
  });

  it("names another place for a prefix", async () => {
    const env = conf(`[[registry]]\nprefix = "*.test"\nlocation = "${plain.address}"`);
    expect(await pull("registry.test/ns/app:t", {}, env)).toEqual(["f /f x"]);
    expect(await pull(`registry.test/ns/app@${image.digest}`, {}, env)).toEqual(["f /f x"]);
  });

  it("takes the longest prefix", async () => {
    const env = conf(`[[registry]]\nlocation = "${plain.address}"\nprefix = "registry.test"
      [[registry]]\nprefix = "registry.test/ns"\nlocation = "${plain.address}/mirrored"`);
    expect(await pull("registry.test/ns/app:t", {}, env)).toEqual(["f /g other"]);
  });

  it("uses some mirrors for digests only", async () => {
    const env = conf(`[[registry]]
      prefix = "registry.test"\nlocation = "${plain.address}"\nmirror-by-digest-only = true
      [[registry.mirror]]\nlocation = "${plain.address}/mirrored"`);
    expect(await pull("registry.test/ns/app:t", {}, env)).toEqual(["f /f x"]);
    expect(plain.asked.filter(({ path }) => path.includes("mirrored"))).toEqual([]);
    await pull(`registry.test/ns/app@${image.digest}`, { cacheDir: join(home, "cold") }, env);
    expect(plain.asked.filter(({ path }) => path.includes("mirrored")).length).toBeGreaterThan(0);
  });

  it("accepts insecure places", async () => {
    const env = conf(`[[registry]]\nlocation = "${secure.address}"\ninsecure = true`);
    expect(await pull(`${secure.address}/ns/app:t`, {}, env)).toEqual(["f /f x"]);
  });

  it.each([
    ["blocks", '[[registry]]\nlocation = "registry.test"\nblocked = true', "oci-blocked"],
    ["of version 1", '[registries.search]\nregistries = ["x"]\n[registry]\na = 1', "oci-bad-registries-conf"],
    ["that is no TOML", "[[registry", "oci-bad-registries-conf"],
    ["without a place", "[[registry]]\nblocked = true", "oci-bad-registries-conf"],
    [
      "with a location that is none",
      '[[registry]]\nprefix = "registry.test"\nlocation = "no place"',
      "oci-bad-reference",
    ],
  ])("that %s", async (_, text, code) => {
    await expect(pull("registry.test/ns/app:t", {}, conf(text))).rejects.toMatchObject({ code });
  });

  it("has drop-ins of the user", async () => {
    mkdirSync(join(home, ".config/containers/registries.conf.d"), { recursive: true });
    writeFileSync(
      join(home, ".config/containers/registries.conf.d/a.conf"),
      `[[registry]]\nprefix = "registry.test"\nlocation = "${plain.address}"`,
    );
    expect(await pull("registry.test/ns/app:t")).toEqual(["f /f x"]);
  });
});
