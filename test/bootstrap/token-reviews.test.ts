import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { openTokenReview, tokenFromFile } from '../../src/bootstrap/token-reviews.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RUNNING_POD } from '../support/kubernetes-stand-in.ts';
import { selfSigned } from '../support/listeners.ts';

const folder = mkdtempSync(join(tmpdir(), 'asb-review-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenFile = join(folder, 'token');
beforeEach(() => writeFileSync(tokenFile, 'first\n'));

const deps = () => ({ audience: 'asb-control-plane', clock: new FakeClock() });
const reviewed = { token: 't', subject: 'system:serviceaccount:agents:runner', podUid: null };

describe('the connection to an API server', () => {
  test('trusts the authority of its file, and no other', async () => {
    const [ours, other] = [selfSigned(), selfSigned()];
    const server = createServer(ours, (_request, response) => response.end(JSON.stringify({ status: RUNNING_POD })));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const apiServer = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const caFile = join(folder, 'ca.pem');
    try {
      writeFileSync(caFile, ours.cert);
      await openTokenReview({ apiServer, caFile, tokenFile }, deps()).confirm(reviewed);
      writeFileSync(caFile, other.cert);
      const wrong = [caFile, null].map((file) => openTokenReview({ apiServer, caFile: file, tokenFile }, deps()));
      for (const review of wrong) await expect(review.confirm(reviewed)).rejects.toMatchObject({ code: 'unavailable' });
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test.each([
    ['in the clear', { apiServer: 'http://10.0.0.1:6443', caFile: null, tokenFile }, 'must be an https URL'],
    ['without its CA file', { apiServer: 'https://10.0.0.1', caFile: join(folder, 'none'), tokenFile }, 'the CA file: '],
    [
      'without a token',
      { apiServer: 'https://10.0.0.1', caFile: null, tokenFile: join(folder, 'none') },
      'the token file: ',
    ],
  ])('%s is not opened', (_name, { apiServer, ...files }, message) => {
    expect(() => openTokenReview({ apiServer: new URL(apiServer), ...files }, deps())).toThrow(message);
  });
});

describe("ASB's own token", () => {
  test('is read again once a minute, because it is rotated', async () => {
    const clock = new FakeClock();
    const token = tokenFromFile(tokenFile, clock);
    expect(await token()).toBe('first');
    writeFileSync(tokenFile, 'second');
    clock.advance(59);
    expect(await token()).toBe('first');
    clock.advance(1);
    expect(await Promise.all([token(), token()])).toEqual(['second', 'second']);
  });

  test.each([
    ['missing', () => rmSync(tokenFile)],
    ['empty', () => writeFileSync(tokenFile, ' \n')],
  ])('that is %s fails, until it is there', async (_name, spoil) => {
    const token = tokenFromFile(tokenFile, new FakeClock());
    spoil();
    await expect(token()).rejects.toThrow();
    writeFileSync(tokenFile, 'back');
    expect(await token()).toBe('back');
  });
});
