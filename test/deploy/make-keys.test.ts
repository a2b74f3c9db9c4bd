import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parsePublicKeys } from '../../src/authn/pem-keys.ts';
import { openKekFile } from '../../src/crypto/kek-file.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';

const SCRIPT = new URL('../../deploy/compose/make-keys.sh', import.meta.url).pathname;

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'asb-keys-')), 'keys');
  execFileSync('sh', [SCRIPT, folder]);
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

const textOf = (name: string) => readFileSync(join(folder, name), 'utf8');

test('the keys are ones that ASB takes', async () => {
  for (const name of ['session-signing.pem', 'audit-signing.pem']) {
    await expect(keyRingFromPem(textOf(name))).resolves.toHaveProperty('signingKey');
  }
  expect(openKekFile(join(folder, 'kek'))).toHaveProperty('wrap');
  expect(parsePublicKeys(textOf('operator.pub.pem')).map(({ alg }) => alg)).toEqual(['EdDSA']);
  expect(parsePublicKeys(textOf('workloads.pub.pem')).map(({ alg }) => alg)).toEqual(['RS256']);
  expect(textOf('session-signing.pem')).not.toBe(textOf('audit-signing.pem'));
});

test('they are for their owner alone, and nothing else is left behind', () => {
  const modes = Object.fromEntries(
    readdirSync(folder).map((name) => [name, (statSync(join(folder, name)).mode & 0o777).toString(8)]),
  );
  expect(modes).toEqual({
    'audit-signing.pem': '600',
    kek: '600',
    'operator.pem': '600',
    'operator.pub.pem': '600',
    'session-signing.pem': '600',
    'workloads.pem': '600',
    'workloads.pub.pem': '600',
  });
});

test('a second run leaves them as they are, and makes what is missing', () => {
  const before = new Map(readdirSync(folder).map((name) => [name, textOf(name)]));
  rmSync(join(folder, 'audit-signing.pem'));
  execFileSync('sh', [SCRIPT, folder]);
  const changed = readdirSync(folder).filter((name) => textOf(name) !== before.get(name));
  expect(changed).toEqual(['audit-signing.pem']);
});
