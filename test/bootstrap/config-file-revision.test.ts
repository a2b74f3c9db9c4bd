import { describe, expect, test } from 'vitest';
import { parseConfigFile } from '../../src/bootstrap/config-file/parse-config-file.ts';
import { readConfigFile } from '../../src/bootstrap/config-file/read-config-file.ts';
import { revisionOf } from '../../src/bootstrap/config-file/revision.ts';
import { ConfigFolder } from './config-file-folder.ts';
import { changed, NO_ISSUERS, SAMPLE } from './config-file-sample.ts';

function revision(text: string): string {
  const { file, problems } = parseConfigFile(text, NO_ISSUERS);
  if (file === null) throw new Error(JSON.stringify(problems));
  return revisionOf(file);
}

test('a revision is SHA-256 in hex', () => {
  expect(revision(SAMPLE)).toMatch(/^[0-9a-f]{64}$/);
});

describe('the same meaning has the same revision', () => {
  test.each<[name: string, text: string]>([
    ['with comments', `# who may do what\n${SAMPLE.replaceAll(']\n', '] # a list\n')}`],
    ['with other quotes', changed('capability: repo.read', `capability: 'repo.read'`)],
    ['with Windows line ends', SAMPLE.replaceAll('\n', '\r\n')],
    [
      'with keys in another order',
      changed('default_ttl: 10m\n        max_ttl: 15m', 'max_ttl: 15m\n        default_ttl: 10m'),
    ],
    [
      'with durations in another unit',
      changed('default_ttl: 10m\n        max_ttl: 15m', 'default_ttl: 600s\n        max_ttl: 900s'),
    ],
    [
      'with a default that is written out',
      changed(
        'approval: { required: 2, ttl: 5m }',
        'approval: { required: 2, ttl: 5m, reuse: false }\n        require_proof: false',
      ),
    ],
    ['with a default that is left out', changed('{ required: 2, ttl: 5m }', '{ required: 2 }')],
    [
      'in another style',
      changed('delivery_modes: [proxy]\n        default', 'delivery_modes:\n          - proxy\n        default'),
    ],
  ])('%s', (_name, text) => {
    expect(revision(text)).toBe(revision(SAMPLE));
  });
});

describe('another meaning has another revision', () => {
  test.each<[name: string, from: string, to: string]>([
    ['a longer time', 'max_ttl: 15m', 'max_ttl: 16m'],
    ['another agent', 'agents: [reviewer]', 'agents: [reviewer-2]'],
    ['fewer approvers', 'required: 2', 'required: 1'],
    ['an attribute that only looks like a time', 'pod_name: runner-*', 'ttl: 10m'],
    ['another condition', '"acme/site"', '"acme/site2"'],
    ['another receiver', 'https://desk.example/asb', 'https://desk.example/asb2'],
    ['another role', 'roles: [approver]', 'roles: [approver, viewer]'],
    ['another source of keys', 'pem_file: ci.pem', 'pem_file: ci2.pem'],
  ])('%s', (_name, from, to) => {
    expect(revision(changed(from, to))).not.toBe(revision(SAMPLE));
  });

  test('attributes that look like the same time are different', () => {
    expect(revision(changed('pod_name: runner-*', 'ttl: 60m'))).not.toBe(revision(changed('pod_name: runner-*', 'ttl: 1h')));
  });
});

test('the revision is the same in every folder and with every secret', async () => {
  using one = new ConfigFolder();
  using other = new ConfigFolder();
  other.write('desk.secret', `whsec_${Buffer.alloc(32, 7).toString('base64')}`);
  const [first, second] = await Promise.all([one, other].map(({ file }) => readConfigFile(file, NO_ISSUERS)));
  const expected = { outcome: 'valid', settings: { revision: revision(SAMPLE) } };
  expect(first).toMatchObject(expected);
  expect(second).toMatchObject(expected);
});
