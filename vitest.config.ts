import { defineConfig } from 'vitest/config';

/** What must come out alike whatever the state is kept in. */
const ON_EVERY_STORE = [
  'main-job',
  'minted-tokens',
  'approvals',
  'attacks',
  'browser',
  'browser-vault',
  'budgets',
  'canary',
  'canary-approvals',
  'github-app',
  'leases',
  'never-500',
  'operators',
  'other-tenants',
  'proof-of-possession',
  'reuse',
  'under-way',
  'vault',
].map((name) => `test/e2e/${name}.test.ts`);

export default defineConfig({
  test: {
    globalSetup: ['test/support/servers/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'all', include: ['test/**/*.test.ts'], exclude: ['test/faults/**'] } },
      // The same again, on Postgres and Redis.
      { extends: true, test: { name: 'durable', include: ON_EVERY_STORE, env: { ASB_TEST_STORES: 'durable' } } },
    ],
  },
});
