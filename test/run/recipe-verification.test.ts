import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { FlixwrapError } from "../../src/core/errors.ts";
import { planShipped, portsTo } from "../support/recipes.ts";
import { serveUpstream, upstreams } from "../support/upstreams.ts";
import { openWebMirror, type WebMirror } from "../support/web-mirror.ts";

let mirror: WebMirror;
let folder: string;
beforeAll(async () => {
  mirror = await openWebMirror();
});
afterAll(() => mirror.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flixwrap-verify-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ports = () => portsTo(mirror, join(folder, "cache"));

it("every part of every recipe is verified, or says why not", async () => {
  for (const [name, upstream] of Object.entries(upstreams)) {
    serveUpstream(mirror, upstream);
    const planned = await planShipped(name, ports());
    for (const row of Object.values(planned.lock.architectures).flat()) {
      const said = planned.unverified.some(
        (line) => line.startsWith(`${row.source}: `) && !line.endsWith("for this version"),
      );
      expect([name, row.source, row.verifiedBy !== undefined || said || !row.source.includes("://")]).toEqual([
        name,
        row.source,
        true,
      ]);
    }
    planned.close();
  }
});

it("a flipped byte in any download that is vouched for stops the bake", async () => {
  for (const [name, upstream] of Object.entries(upstreams)) {
    serveUpstream(mirror, upstream);
    const planned = await planShipped(name, ports());
    planned.close();
    for (const row of planned.lock.architectures["x86-64"]!.filter(({ verifiedBy }) => verifiedBy !== undefined)) {
      const cached = readFileSync(join(folder, "cache", "sha256", row.digest.slice(7)));
      const flipped = Buffer.from(cached);
      flipped[flipped.length >> 1]! ^= 1;
      mirror.set(row.source, flipped);
      const error = await planShipped(name, portsTo(mirror, join(folder, `flipped-${name}`))).catch(
        (caught: unknown) => caught as FlixwrapError,
      );
      expect([name, "code" in error && error.code]).toEqual([name, "recipe-checksum"]);
      mirror.set(row.source, cached);
    }
  }
});
