import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [, script = ''] = packageJson.scripts['demo:browser'].split(' ');

test('the story of a login form comes out as it is told, and shows no password', { timeout: 120_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: ROOT });
  const lines = [...stdout.matchAll(/^ {3}(\w+) +(.*)$/gm)].map(([, label = '', value = '']) => [label, value] as const);
  expect(Object.fromEntries(lines)).toMatchObject({
    username: expect.stringMatching(/^eyJ.*… into #login input\[name=user\]$/),
    password: expect.stringMatching(/^eyJ.*… into #login input\[type=password\]$/),
    filled: 'user bookkeeper, password 28 characters',
    submitted: '0 times, for ASB submits nothing',
    page: 'Welcome, bookkeeper',
    stolen: expect.stringMatching(/^decryption operation failed$|^the value of \w+ was sealed for another/),
    searched: 'audit events, logs and answers: not found',
  });
  const refusals = lines.filter(([label]) => label === 'refused').map(([, value]) => value.split(' ')[0]);
  expect(refusals).toEqual(['404', '400', '403', '409']);
  expect(stdout).not.toContain('correct-horse');
});
