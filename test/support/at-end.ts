import { afterAll } from "vitest";

const endings: (() => unknown)[] = [];

// Heard here, while the file is read; called in a hook or a test, afterAll would register nothing and say nothing.
afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

/** Does this when the test file ends, the last one asked for first. */
export function atEnd(end: () => unknown): void {
  endings.push(end);
}
