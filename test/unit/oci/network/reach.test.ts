import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, LookupFunction } from "node:net";
import { afterAll, beforeEach, expect, it, vi } from "vitest";
import { quietContext } from "../../../../src/core/context.ts";
import { PRIVATE, PUBLIC, type Reach } from "../../../../src/oci/network/address.ts";
import { openHttp } from "../../../../src/oci/network/http.ts";
import { guardedLookup } from "../../../../src/oci/network/reach.ts";
import { parseReference, type RegistryReference } from "../../../../src/oci/reference.ts";
import { openRegistry } from "../../../../src/oci/registry/registry.ts";
import { get } from "../../../../src/recipes/http.ts";

/** What each name leads to: the first answer once, the last one from then on. */
const answers = vi.hoisted(() => new Map<string, string[][]>());
const next = vi.hoisted(() => (name: string) => {
  const left = answers.get(name);
  if (left === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: "ENOTFOUND" });
  const addresses = left.length > 1 ? left.shift()! : left[0]!;
  return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
});
vi.mock("node:dns", () => ({
  lookup: (name: string, _: unknown, done: (error: Error | null, found?: unknown) => void) => {
    try {
      done(null, next(name));
    } catch (error) {
      done(error as Error);
    }
  },
}));
vi.mock("node:dns/promises", () => ({ lookup: async (name: string) => next(name) }));

const [STRANGER, INNER] = ["127.0.0.2", "127.0.0.3"];
/** Every machine has these two, and for once they stand for one in the world and one in our network. */
vi.mock("../../../../src/oci/network/address.ts", async (original) => {
  const real = await original<typeof import("../../../../src/oci/network/address.ts")>();
  const stands = new Map<string, Reach>([
    ["127.0.0.2", real.PUBLIC],
    ["127.0.0.3", real.PRIVATE],
  ]);
  return { ...real, reachOf: (address: string) => stands.get(address) ?? real.reachOf(address) };
});

/** A server on each, with one port; the stranger commands the names and sends us where he likes. */
const asked: string[] = [];
let answer = (response: ServerResponse): unknown => response.end();
const listen = (address: string, port: number): Promise<number> => {
  const server = createServer((request, response) => {
    asked.push(`${address} ${request.url}`);
    // A name turns with the next connection.
    response.setHeader("connection", "close");
    if (address === STRANGER && request.url !== "/v2/") answer(response);
    else response.end();
  });
  afterAll(() => server.close());
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
  });
};
const port = await listen(STRANGER, 0);
await listen(INNER, port);

beforeEach(() => {
  answers.clear();
  asked.length = 0;
});

const lookUp = (name: string, reach: Reach): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const lookup: LookupFunction = guardedLookup(reach);
    lookup(name, { all: true }, (error, found) =>
      error === null
        ? resolve((found as unknown as { address: string }[]).map(({ address }) => address))
        : reject(error),
    );
  });

it("every answer is judged, and what lies too far inside is left out of it", async () => {
  answers.set("turns.example", [["192.0.2.1"], ["10.0.0.1"]]);
  expect(await lookUp("turns.example", PUBLIC)).toEqual(["192.0.2.1"]);
  await expect(lookUp("turns.example", PUBLIC)).rejects.toMatchObject({ code: "oci-forbidden-address" });
  answers.set("both.example", [["10.0.0.1", "2001:db8::1", "::ffff:127.0.0.1"]]);
  expect(await lookUp("both.example", PUBLIC)).toEqual(["2001:db8::1"]);
  expect(await lookUp("both.example", PRIVATE)).toEqual(["10.0.0.1", "2001:db8::1"]);
});

it("a name is looked up once for a connection, which goes to the address that was judged", async () => {
  answers.set("turns.example", [[STRANGER], [INNER]]);
  const http = openHttp({ trust: () => ({ verify: true }), env: {} });
  const signal = new AbortController().signal;
  const { from, body } = await http.send(new URL(`http://turns.example:${port}/x`), { reach: PRIVATE, signal });
  expect({ asked, from, left: answers.get("turns.example") }).toEqual({
    asked: [`${STRANGER} /x`],
    from: PUBLIC,
    left: [[INNER]],
  });
  body.destroy();
  http.close();
});

const redirect = (location: string) => (response: ServerResponse) => response.writeHead(302, { location }).end();
const demand = (realm: string) => (response: ServerResponse) =>
  response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}",service="s"` }).end();
const inner = `http://${INNER}:${port}/secret`;
const self = `http://turns.example:${port}/secret`;
const forbidden = { code: "oci-forbidden-address" };

it.each<[string, string, string[][], (response: ServerResponse) => unknown]>([
  ["whose name leads inside by then", self, [[STRANGER], [INNER]], redirect(self)],
  ["to the inside, as its name by then leads there", inner, [[STRANGER], [INNER]], redirect(inner)],
])("a download is not redirected to a server %s", async (_, location, names, act) => {
  answers.set("turns.example", names);
  answer = act;
  await expect(get(`http://turns.example:${port}/tool`, {}, quietContext())).rejects.toMatchObject(forbidden);
  expect(asked, location).toEqual([`${STRANGER} /tool`]);
});

// What the name tells: at the first look at it, to the attempts with TLS and without, to the request, and ever after.
it.each<[string, string[][], (response: ServerResponse) => unknown]>([
  ["a redirect to itself, now inside", [[STRANGER], [STRANGER], [STRANGER], [STRANGER], [INNER]], redirect(self)],
  ["a redirect of one that once told an inner address", [[INNER], [STRANGER]], redirect(inner)],
  ["a redirect of one that tells both", [[STRANGER, INNER]], redirect(inner)],
  ["a token realm of one that once told an inner address", [[INNER], [STRANGER]], demand(inner)],
])("a registry leads nowhere inside by %s", async (_, names, act) => {
  answers.set("turns.example", names);
  answer = act;
  const reference = parseReference(`turns.example:${port}/ns/app:t`) as RegistryReference;
  const store = await openRegistry(reference, quietContext(), { tlsVerify: false });
  await expect(store.root()).rejects.toMatchObject(forbidden);
  store.close();
  expect(asked.filter((line) => line.startsWith(INNER))).toEqual([]);
  expect(asked).toContain(`${STRANGER} /v2/ns/app/manifests/t`);
});
