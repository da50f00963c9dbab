import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { quietContext } from "../../../src/core/context.ts";
import { convert } from "../../../src/convert/convert.ts";

const folder = mkdtempSync(join(tmpdir(), "flixwrap-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, "in/usr/share"), { recursive: true });
mkdirSync(join(folder, "out"));
writeFileSync(join(folder, "in/usr/share/x"), "x");

// Planning, building and checking a large tree are seconds in which this process hears no signal.
test.each([
  ["image", ["image"]],
  ["plan", ["image", "plan"]],
])("what interrupts during step %s ends the work before the next one", async (during, begun) => {
  const abort = new AbortController();
  const steps: string[] = [];
  const context = quietContext({
    signal: abort.signal,
    emit(event) {
      if (event.kind !== "step") return;
      steps.push(event.step);
      // As a signal: heard with the next turn of the event loop.
      if (event.step === during) setImmediate(() => abort.abort());
    },
  });
  const options = { format: "dir", output: join(folder, "out/x") } as const;
  await expect(
    convert({ converter: "pack", source: `dir:${folder}/in`, name: "x", entries: [], options }, context),
  ).rejects.toMatchObject({ code: "interrupted" });
  expect(steps).toEqual(begun);
  expect(readdirSync(join(folder, "out"))).toEqual([]);
});
