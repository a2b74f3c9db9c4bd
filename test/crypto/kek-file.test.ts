import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ephemeralKeyManagement, openKekFile } from '../../src/crypto/kek-file.ts';

let folder = '';
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'asb-kek-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const aKey = () => randomBytes(32).toString('base64');

function fileOf(content: string, mode = 0o600): string {
  const path = join(folder, `kek-${randomBytes(4).toString('hex')}`);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

const open = (content: string) => openKekFile(fileOf(content));
const DATA_KEY = randomBytes(32);

function refusalOf(path: string): Error {
  try {
    openKekFile(path);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it was opened');
}

describe('a key file', () => {
  test('is read with comments, empty lines and the line ends of other systems', async () => {
    const key = aKey();
    const wrapped = await open(`${key}\n`).wrap(DATA_KEY, 'here');
    for (const content of [key, `# of May\n\n${key}\n`, `\t${key} \r\n# old ones: none\r\n`]) {
      expect(Buffer.from(await open(content).unwrap(wrapped, 'here'))).toEqual(DATA_KEY);
    }
  });

  test.each([0o600, 0o400])('may have the mode %o', (mode) => {
    expect(() => openKekFile(fileOf(aKey(), mode))).not.toThrow();
  });

  test('wraps with its first key and unwraps with each', async () => {
    const [old, fresh] = [aKey(), aKey()];
    const before = await open(old).wrap(DATA_KEY, 'here');
    const rotated = open(`${fresh}\n${old}`);
    const after = await rotated.wrap(DATA_KEY, 'here');
    expect(after.keyId).not.toBe(before.keyId);
    expect(Buffer.from(await rotated.unwrap(before, 'here'))).toEqual(DATA_KEY);
    expect(Buffer.from(await open(fresh).unwrap(after, 'here'))).toEqual(DATA_KEY);
    await expect(open(fresh).unwrap(before, 'here')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('names a key in a way that does not lead back to it', async () => {
    const key = aKey();
    const { keyId } = await open(key).wrap(DATA_KEY, 'here');
    expect(keyId).toMatch(/^kek_[0-9a-f]{32}$/);
    expect((await open(`# again\n${key}`).wrap(DATA_KEY, 'there')).keyId).toBe(keyId);
    expect(Buffer.from(key, 'base64').toString('hex')).not.toContain(keyId.slice(4, 12));
  });

  test('shows no key to whoever looks at what came of it', () => {
    const key = aKey();
    const shown = inspect(open(key), { depth: 10, showHidden: true });
    expect(shown).not.toContain(key.slice(0, 8));
    expect(JSON.stringify(open(key))).not.toContain(key.slice(0, 8));
  });
});

describe('a key file that is not one stops the start', () => {
  const good = aKey();
  const bytes = (...values: number[]) =>
    Buffer.from(Array.from({ length: 32 }, (_, index) => values[index % values.length] ?? 0)).toString('base64');
  const counted = Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('base64');
  const text = Buffer.from('correct horse battery staple, 32').toString('base64');
  test.each([
    ['empty', '', /holds no key; make one with: openssl rand -base64 32/],
    ['comments only', '# nothing\n\n#\n', /holds no key/],
    ['a key of 16 bytes', randomBytes(16).toString('base64'), /line 1 .* is not the base64 of 32 bytes/],
    ['a key of 31 bytes', randomBytes(31).toString('base64'), /line 1 .* is not the base64 of 32 bytes/],
    ['a key of 33 bytes', randomBytes(33).toString('base64'), /line 1 .* is not the base64 of 32 bytes/],
    ['a key in hex', randomBytes(32).toString('hex'), /line 1 .* is not the base64 of 32 bytes/],
    ['a key in base64url', `${'_-'.repeat(21)}A`, /line 1 .* is not the base64 of 32 bytes/],
    ['a key without its padding', good.slice(0, -1), /line 1 .* is not the base64 of 32 bytes/],
    ['spare bits that are not nought', `${good.slice(0, 42)}B=`, /line 1 .* is not the base64 of 32 bytes/],
    ['two keys on a line', `${good} ${aKey()}`, /line 1 .* and nothing else/],
    ['a comment behind the key', `${good} # current`, /line 1 .* and nothing else/],
    ['a name before the key', `kek=${good}`, /line 1 .* and nothing else/],
    ['a second line that is wrong', `# keys\n${good}\nAAAA`, /line 3 .* is not the base64 of 32 bytes/],
    ['the same key twice', `${good}\n# old\n${aKey()}\n${good}\n`, /line 4 .* repeats the key of line 1/],
    ['all zero', bytes(0), /line 1 .* is not a random key/],
    ['one byte over and over', bytes(0xa7), /line 1 .* is not a random key/],
    ['a few bytes over and over', bytes(1, 9, 200, 77, 31), /line 1 .* is not a random key/],
    ['bytes counted up', counted, /line 1 .* is not a random key/],
    ['a line of text', text, /line 1 .* is not a random key/],
    ['17 keys', Array.from({ length: 17 }, aKey).join('\n'), /holds 17 keys; at most 16/],
    ['far too large', '#'.repeat(70_000), /is larger than 65536 bytes/],
  ])('%s', (_name, content, expected) => {
    const refusal = refusalOf(fileOf(content));
    expect(refusal.message).toMatch(expected);
    const shown = inspect(refusal);
    for (const line of content.split('\n').filter((one) => !one.startsWith('#') && one.length >= 40)) {
      expect(shown).not.toContain(line.slice(0, 12));
    }
  });

  test.each([0o640, 0o604, 0o610, 0o601, 0o620, 0o666, 0o440])('mode %o', (mode) => {
    const octal = mode.toString(8).padStart(4, '0');
    expect(refusalOf(fileOf(good, mode)).message).toBe(
      `the key file may be used by others than its owner (mode ${octal}); make it 0600 or 0400`,
    );
  });

  test('a symbolic link, a folder, a pipe, a device, or nothing at all', () => {
    const target = fileOf(good);
    const [link, dangling, pipe] = ['link', 'dangling', 'pipe'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    symlinkSync(target, link);
    symlinkSync(join(folder, 'nowhere'), dangling);
    execFileSync('mkfifo', ['--mode=600', pipe]);
    mkdirSync(join(folder, 'folder'), { mode: 0o700 });
    expect(refusalOf(link).message).toBe('the key file must not be a symbolic link; name the file itself');
    expect(refusalOf(dangling).message).toMatch(/must not be a symbolic link/);
    expect(refusalOf(pipe).message).toBe('the key file must be a regular file');
    expect(refusalOf(join(folder, 'folder')).message).toBe('the key file must be a regular file');
    expect(refusalOf('/dev/null').message).toBe('the key file must be a regular file');
    expect(refusalOf(join(folder, 'nowhere')).message).toBe('the key file cannot be read (ENOENT)');
    const hardLink = join(folder, 'hard-link');
    linkSync(target, hardLink);
    expect(() => openKekFile(hardLink)).not.toThrow();
  });
});

test.runIf(process.geteuid?.() === 0)('a key file of somebody else stops the start, even of root', () => {
  const path = fileOf(aKey());
  chownSync(path, 1234, 1234);
  expect(refusalOf(path).message).toBe('the key file must belong to the user that ASB runs as, or to root');
});

describe('what is wrapped', () => {
  const keys = ephemeralKeyManagement();

  test('is bound to its context, and to its key', async () => {
    const wrapped = await keys.wrap(DATA_KEY, 'here');
    const defect: unknown = expect.objectContaining({ name: 'Error' });
    await expect(keys.unwrap(wrapped, 'there')).rejects.toEqual(defect);
    await expect(keys.unwrap({ ...wrapped, wrapped: `${wrapped.wrapped}A` }, 'here')).rejects.toEqual(defect);
    await expect(keys.unwrap({ ...wrapped, wrapped: '' }, 'here')).rejects.toEqual(defect);
    await expect(ephemeralKeyManagement().unwrap(wrapped, 'here')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('differs every time', async () => {
    const wrapped = await Promise.all(Array.from({ length: 100 }, () => keys.wrap(DATA_KEY, 'here')));
    expect(new Set(wrapped.map((one) => one.wrapped)).size).toBe(100);
  });

  test('under a key that is not at hand does not repeat the stored id when that is not one', async () => {
    const forged = { keyId: 'x\n{"level":"info"}', wrapped: 'a.b.c' };
    const refusal: unknown = await keys.unwrap(forged, 'here').catch((error: unknown) => error);
    expect(inspect(refusal)).not.toContain('level');
  });
});
