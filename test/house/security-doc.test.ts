import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const text = readFileSync(new URL('docs/security.md', ROOT), 'utf8').replaceAll('\n', ' ');
/** Each file that is named, with the test of it that is named behind it. */
const CLAIMS = [...text.matchAll(/`(test\/[\w./-]+)`(?: "([^"]+)")?/g)].map(([, file = '', name]) => ({ file, name }));

test('the threat model names many tests', () => {
  expect(CLAIMS.length).toBeGreaterThan(50);
});

test('and each of them is there, by the name that it says', () => {
  const missing = CLAIMS.filter(({ file, name }) => {
    const path = new URL(file, ROOT);
    return !existsSync(path) || (name !== undefined && !readFileSync(path, 'utf8').includes(name));
  });
  expect(missing).toEqual([]);
});
