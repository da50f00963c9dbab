import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openImage, type OpenOptions } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { describeTree } from "../support/describe-tree.ts";
import { makeImage, sha256, startFaultRegistry, type Asked } from "../support/fault-registry.ts";
import { scratch } from "../support/program.ts";
import { file, tar } from "../support/tar-bytes.ts";

const work = scratch();
const registry = await startFaultRegistry();
/** Another origin: another port of this machine. */
const storage = await startFaultRegistry();
const image = makeImage([tar(file("f", "x")), tar(file("g", "y"))]);
for (const one of [registry, storage]) one.add("ns/app:t", image);
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const encoded = (user: string, password: string): string => Buffer.from(`${user}:${password}`).toString("base64");

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(work, "home-"));
  for (const one of [registry, storage]) {
    one.intercept = () => false;
    one.faults = () => undefined;
    one.asked.length = 0;
  }
});

const write = (path: string, content: unknown, mode = 0o600): void => {
  const full = join(home, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, typeof content === "string" ? content : JSON.stringify(content), { mode });
};

async function pull(options: Partial<OpenOptions> = {}, env: Record<string, string> = {}): Promise<string[]> {
  const { rootfs, close } = await openImage(parseReference(`${registry.address}/ns/app:t`), {
    context: quietContext({
      env: { HOME: home, PATH: `${home}/bin:/usr/bin:/bin`, XDG_RUNTIME_DIR: `${home}/run`, ...env },
    }),
    cacheDir: join(home, "cache"),
    platform: "amd64",
    retries: { tries: 2, firstDelay: 1, maxDelay: 1, maxAfter: 1 },
    ...options,
  });
  const lines = describeTree(rootfs);
  close();
  return lines;
}
const both = ["f /f x", "f /g y"];

/** Lets in whoever sends this header, and asks others. */
const demand =
  (wanted: () => string, challenge: () => string) =>
  ({ path, headers }: Asked, response: ServerResponse): boolean => {
    if (!path.startsWith("/v2/ns/") || headers.authorization === wanted()) return false;
    response.writeHead(401, { "www-authenticate": challenge() }).end("{}");
    return true;
  };

describe("a registry with user and password", () => {
  beforeEach(() => {
    registry.intercept = demand(
      () => basic("user", "pass:word"),
      () => `Basic realm="a, b"`,
    );
  });

  it.each<[string, () => Promise<string[]>]>([
    ["--creds", () => pull({ creds: "user:pass:word" })],
    [
      "docker's file",
      () => {
        write(".docker/config.json", { auths: { [registry.address]: { auth: encoded("user", "pass:word") } } });
        return pull();
      },
    ],
    [
      "docker's file with a URL as key",
      () => {
        write(".docker/config.json", {
          auths: { [`https://${registry.address}/v1/`]: { auth: encoded("user", "pass:word") } },
        });
        return pull();
      },
    ],
    [
      "$DOCKER_CONFIG",
      () => {
        write("other/config.json", { auths: { [registry.address]: { username: "user", password: "pass:word" } } });
        return pull({}, { DOCKER_CONFIG: join(home, "other") });
      },
    ],
    [
      "REGISTRY_AUTH_FILE, before all others",
      () => {
        write("auth.json", { auths: { [registry.address]: { auth: encoded("user", "pass:word") } } });
        write(".docker/config.json", { auths: { [registry.address]: { auth: encoded("user", "wrong") } } });
        return pull({}, { REGISTRY_AUTH_FILE: join(home, "auth.json") });
      },
    ],
    [
      "podman's auth.json, the most specific key",
      () => {
        write("run/containers/auth.json", {
          auths: {
            [registry.address]: { auth: encoded("user", "wrong") },
            [`${registry.address}/ns`]: { auth: encoded("user", "wrong too") },
            [`${registry.address}/ns/app`]: { auth: encoded("user", "pass:word") },
          },
        });
        return pull();
      },
    ],
    [
      "a credential helper for the host",
      () => {
        write(
          "bin/docker-credential-test",
          `#!/bin/sh\nread -r host; [ "$1" = get ] || exit 3; echo "$host $*" > ${home}/asked; echo '{"Username":"user","Secret":"pass:word"}'\n`,
          0o755,
        );
        write(".docker/config.json", {
          credHelpers: { [registry.address]: "test" },
          auths: { [registry.address]: {} },
        });
        return pull();
      },
    ],
    [
      "a credential store",
      () => {
        write("bin/docker-credential-store", `#!/bin/sh\necho '{"Username":"user","Secret":"pass:word"}'\n`, 0o755);
        write(".docker/config.json", { credsStore: "store" });
        return pull();
      },
    ],
  ])("by %s", async (_, run) => {
    expect(await run()).toEqual(both);
  });

  it.each<[string, () => Promise<string[]>, string, RegExp]>([
    ["nobody", () => pull(), "oci-denied", /does not let us.*docker or podman login/],
    ["the wrong password", () => pull({ creds: "user:wrong" }), "oci-denied", /does not let us/],
    [
      "a store that knows nothing of it",
      () => {
        write(
          "bin/docker-credential-store",
          `#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n`,
          0o755,
        );
        write(".docker/config.json", { credsStore: "store" });
        return pull();
      },
      "oci-denied",
      /does not let us/,
    ],
    [
      "a helper that fails",
      () => {
        write("bin/docker-credential-bad", "#!/bin/sh\nexit 7\n", 0o755);
        write(".docker/config.json", { credHelpers: { [registry.address]: "bad" } });
        return pull();
      },
      "oci-bad-credentials",
      /docker-credential-bad failed.*exit status 7/,
    ],
    [
      "a helper that is not there",
      () => {
        write(".docker/config.json", { credHelpers: { [registry.address]: "none" } });
        return pull();
      },
      "oci-bad-credentials",
      /docker-credential-none failed/,
    ],
    [
      "a file that is no JSON",
      () => {
        write(".docker/config.json", "{");
        return pull();
      },
      "oci-bad-credentials",
      /cannot read the credentials/,
    ],
  ])("not by %s", async (_, run, code, message) => {
    await expect(run()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("asks the helper on its standard input, for the host that was named", async () => {
    write(
      "bin/docker-credential-test",
      `#!/bin/sh\ncat > ${home}/asked; echo '{"Username":"user","Secret":"pass:word"}'\n`,
      0o755,
    );
    write(".docker/config.json", { credHelpers: { [registry.address]: "test" } });
    await pull();
    expect(readFileSync(join(home, "asked"), "utf8")).toBe(registry.address);
  });
});

describe("a registry with tokens", () => {
  let issued = 0;
  let valid = "";
  let asked: { url: URL; authorization: string | undefined; method: string; body: string }[] = [];
  let tokenAnswer: (token: string) => object;
  const challenge = (): string =>
    `Bearer realm="http://${registry.address}/token",service="the, service",scope="repository:ns/app:pull"`;

  beforeEach(() => {
    [issued, valid, asked] = [0, "", []];
    tokenAnswer = (token) => ({ token });
    registry.intercept = (request, response, body) => {
      if (request.path.startsWith("/token")) {
        const url = new URL(request.path, "http://x");
        asked.push({ url, authorization: request.headers.authorization, method: request.method, body });
        valid = `token-${(issued += 1)}`;
        response.end(JSON.stringify(tokenAnswer(valid)));
        return true;
      }
      return demand(() => `Bearer ${valid}`, challenge)(request, response);
    };
  });

  it("as nobody", async () => {
    expect(await pull()).toEqual(both);
    expect(asked).toHaveLength(1);
    expect(asked[0]!.authorization).toBeUndefined();
    expect(asked[0]!.url.searchParams.get("service")).toBe("the, service");
    expect(asked[0]!.url.searchParams.get("scope")).toBe("repository:ns/app:pull");
  });

  it("with a password, which goes to the token server only", async () => {
    expect(await pull({ creds: "user:secret" })).toEqual(both);
    expect(asked[0]!.authorization).toBe(basic("user", "secret"));
    expect(registry.asked.filter(({ headers }) => headers.authorization?.startsWith("Basic"))).toHaveLength(1);
  });

  it("by the name access_token", async () => {
    tokenAnswer = (token) => ({ access_token: token, expires_in: 60 });
    expect(await pull()).toEqual(both);
  });

  it("with an identity token", async () => {
    write(".docker/config.json", {
      auths: { [registry.address]: { auth: encoded("<token>", ""), identitytoken: "ID" } },
    });
    expect(await pull()).toEqual(both);
    const form = new URLSearchParams(asked[0]!.body);
    expect(asked[0]!.method).toBe("POST");
    expect(Object.fromEntries(form)).toMatchObject({
      grant_type: "refresh_token",
      refresh_token: "ID",
      service: "the, service",
      scope: "repository:ns/app:pull",
    });
  });

  it("that end in the middle of a pull", async () => {
    let blobs = 0;
    const before = registry.intercept;
    registry.intercept = (request, response, body) => {
      if (request.path.includes("/blobs/") && (blobs += 1) === 2) valid = "ended";
      return before(request, response, body);
    };
    expect(await pull()).toEqual(both);
    expect(issued).toBeGreaterThan(1);
  });

  it.each([401, 403])("that do not reach far enough: status %d names the scope that does", async (status) => {
    const wider = "repository:ns/app:pull repository:base/os:pull";
    registry.intercept = ({ path, headers }, response) => {
      if (path.startsWith("/token")) {
        const scopes = new URL(path, "http://x").searchParams.getAll("scope").join(" ");
        response.end(JSON.stringify({ token: scopes === wider ? "wide" : "narrow" }));
      } else if (!path.startsWith("/v2/ns/")) return false;
      else if (headers.authorization === undefined) response.writeHead(401, { "www-authenticate": challenge() }).end();
      else if (headers.authorization === "Bearer wide") return false;
      else {
        const refusal = `${challenge().replace(/,scope="[^"]*"/, "")},scope="${wider}",error="insufficient_scope"`;
        response.writeHead(status, { "www-authenticate": refusal }).end();
      }
      return true;
    };
    expect(await pull()).toEqual(both);
  });

  it("that will never reach far enough are told as such", async () => {
    registry.intercept = ({ path }, response) => {
      if (path.startsWith("/token")) response.end(JSON.stringify({ token: "narrow" }));
      else if (!path.startsWith("/v2/ns/")) return false;
      else response.writeHead(403, { "www-authenticate": `${challenge()},error="insufficient_scope"` }).end();
      return true;
    };
    await expect(pull()).rejects.toMatchObject({
      code: "oci-denied",
      message: expect.stringMatching(/what we may do there is not enough/),
    });
    expect(registry.asked.length).toBeLessThan(20);
  });

  it("that are never good enough", async () => {
    registry.intercept = ({ path }, response) => {
      if (path.startsWith("/token")) response.end(JSON.stringify({ token: "t" }));
      else if (path.startsWith("/v2/ns/")) response.writeHead(401, { "www-authenticate": challenge() }).end();
      else return false;
      return true;
    };
    await expect(pull()).rejects.toMatchObject({ code: "oci-denied" });
    expect(registry.asked.length).toBeLessThan(20);
  });

  it.each([
    ["no token", {}],
    ["a token that would break a header", { token: "a\r\nb" }],
    ["a token that is no text", { token: 5 }],
  ])("and an answer with %s", async (_, answer) => {
    tokenAnswer = () => answer;
    await expect(pull()).rejects.toMatchObject({ code: "oci-denied" });
  });

  it("and a token server that refuses us", async () => {
    registry.intercept = (request, response) => {
      if (request.path.startsWith("/token")) response.writeHead(403).end();
      else return demand(() => "never", challenge)(request, response);
      return true;
    };
    await expect(pull()).rejects.toMatchObject({ code: "oci-denied", message: expect.stringContaining("status 403") });
  });
});

describe("where a registry sends us", () => {
  const redirect = (location: string, status = 307): void => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes("/blobs/")) return false;
      response.writeHead(status, { location }).end();
      return true;
    };
  };

  it.each([301, 302, 303, 307, 308])("a redirect %d to a storage is followed without our secrets", async (status) => {
    registry.intercept = ({ path, headers }, response) => {
      if (!path.startsWith("/v2/ns/")) return false;
      if (headers.authorization !== basic("user", "secret")) {
        response.writeHead(401, { "www-authenticate": "Basic" }).end();
        return true;
      }
      if (!path.includes("/blobs/")) return false;
      response.writeHead(status, { location: `http://${storage.address}${path}` }).end();
      return true;
    };
    expect(await pull({ creds: "user:secret" })).toEqual(both);
    expect(storage.asked).toHaveLength(3);
    expect(storage.asked.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });

  it.each([
    ["a cloud's secrets", "http://169.254.169.254/latest/meta-data", "oci-forbidden-address"],
    ["the same in IPv6", "http://[::ffff:169.254.169.254]/latest", "oci-forbidden-address"],
    ["a link-local address", "http://[fe80::1]/x", "oci-forbidden-address"],
    ["a file", "file:///etc/passwd", "oci-forbidden-address"],
    ["no URL at all", "http://", "oci-forbidden-address"],
    ["another protocol", "ftp://example.invalid/x", "oci-forbidden-address"],
  ])("a redirect to %s is refused", async (_, location, code) => {
    redirect(location);
    await expect(pull()).rejects.toMatchObject({ code });
  });

  it("redirects in a circle end", async () => {
    registry.intercept = ({ path }, response) => {
      if (!path.includes("/blobs/")) return false;
      response.writeHead(302, { location: path }).end();
      return true;
    };
    await expect(pull()).rejects.toMatchObject({ code: "oci-registry", message: expect.stringMatching(/redirects/) });
    expect(registry.asked.length).toBeLessThan(50);
  });

  it.each(["http://169.254.169.254/token", "file:///etc/passwd", "not a url", "http://[fe80::1]/token"])(
    "the token realm %s is refused",
    async (realm) => {
      registry.intercept = demand(
        () => "never",
        () => `Bearer realm="${realm}",service="s"`,
      );
      await expect(pull({ creds: "user:secret" })).rejects.toMatchObject({ code: "oci-forbidden-address" });
    },
  );
});

describe("a foreign layer", () => {
  const layer = gzipSync(tar(file("foreign", "z")));
  const digest = sha256(layer);
  const nowhere = `/v2/ns/app/blobs/${digest}`;
  /** The registry has everything but this layer. */
  const foreign = (urls: readonly string[]): void => {
    const made = makeImage([gunzipSync(layer)], {
      compress: () => layer,
      manifest: {
        layers: [
          { mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", digest, size: layer.length, urls },
        ],
      },
    });
    registry.add("ns/app:t", made);
    registry.intercept = ({ path }, response) => {
      if (path !== nowhere) return false;
      response.writeHead(404).end();
      return true;
    };
    storage.addRaw("elsewhere", layer);
  };
  afterAll(() => registry.add("ns/app:t", image));
  const elsewhere = (): string => `http://${storage.address}/v2/x/blobs/elsewhere`;

  it("is fetched from where the image says it is, without our secrets", async () => {
    foreign([elsewhere()]);
    const guarded = registry.intercept;
    registry.intercept = (asked, response, body) => {
      if (asked.path.startsWith("/v2/ns/") && asked.headers.authorization !== basic("user", "secret")) {
        response.writeHead(401, { "www-authenticate": "Basic" }).end();
        return true;
      }
      return guarded(asked, response, body);
    };
    expect(await pull({ creds: "user:secret" })).toEqual(["f /foreign z"]);
    expect(storage.asked.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("is looked for at every place in turn, and taken from none that has other bytes", async () => {
    foreign([`http://${storage.address}/v2/x/blobs/none`, elsewhere()]);
    expect(await pull()).toEqual(["f /foreign z"]);
    storage.addRaw("elsewhere", gzipSync("something else".repeat(100)));
    await expect(pull({ cacheDir: join(home, "other") })).rejects.toMatchObject({
      code: expect.stringMatching(/^oci-(size|digest)-mismatch$|^oci-truncated$/),
    });
  });

  it.each([
    ["a cloud's secrets", "http://169.254.169.254/x", "oci-forbidden-address"],
    ["a file", "file:///etc/passwd", "oci-forbidden-address"],
    ["nowhere", "http://STORAGE/v2/x/blobs/none", "oci-not-found"],
  ])("at %s is refused", async (_, url, code) => {
    foreign([url.replace("STORAGE", storage.address)]);
    const message = code === "oci-not-found" ? /no layer sha256:.*blobs\/none/s : /place that is not safe|no business/;
    await expect(pull()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
