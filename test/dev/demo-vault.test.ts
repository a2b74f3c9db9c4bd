import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [, script = ''] = packageJson.scripts['demo:vault'].split(' ');

test('the story of a database user comes out as it is told, and shows no password', { timeout: 120_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: ROOT });
  const told = Object.fromEntries(
    [...stdout.matchAll(/^ {3}(\w+) +(.*)$/gm)].map(([, label = '', value]) => [label, value]),
  );
  expect(told).toMatchObject({
    username: expect.stringMatching(/^v-token-orders_r-[A-Za-z0-9]{20}-\d+$/),
    password: '20 characters',
    read: '[{"number":1,"item":"a widget"},{"number":2,"item":"two gears"}]',
    write: 'permission denied for table orders',
    revoked: '{"state":"revoked"}',
    login: expect.stringMatching(/^(password authentication failed for user|role) "v-token-/),
    leases: '0 left at Vault',
    searched: 'audit events and logs: not found',
  });
  expect(stdout).not.toMatch(/postgres(ql)?:\/\//);
});
