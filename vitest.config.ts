import { defineConfig } from "vitest/config";

// Two cores, and tests that pack images and run programs: two workers, generous limits.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 180_000,
    hookTimeout: 300_000,
    maxWorkers: 2,
    globalSetup: ["test/support/setup.ts"],
  },
});
