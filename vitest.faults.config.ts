import { defineConfig } from 'vitest/config';

// Faults under load: one file at a time, so that each has the machine for itself. ASB_FAULTS=short makes them brief.
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    globalSetup: ['test/support/servers/global-setup.ts', 'test/faults/report-setup.ts'],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 120_000,
  },
});
