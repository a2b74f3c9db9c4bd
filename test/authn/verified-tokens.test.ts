import { beforeEach, expect, type MockInstance, test, vi } from 'vitest';
import { rememberVerified } from '../../src/authn/verified-tokens.ts';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import type { SessionTokens } from '../../src/domain/session-tokens.ts';
import { aSession, START } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock: FakeClock;
let checked: SessionTokens;
let tokens: SessionTokens;
let token: string;
let verify: MockInstance<SessionTokens['verify']>;
beforeEach(async () => {
  clock = new FakeClock();
  checked = makeSessionTokens({ keys: await ephemeralKeyRing(), issuer: 'asb', clock });
  verify = vi.spyOn(checked, 'verify');
  tokens = rememberVerified({ ...checked }, clock);
  const session = aSession();
  token = await checked.sign({ ...session, sessionId: session.id, proofKeyThumbprint: null, issuedAt: START });
});

test('whether a token says that it is a session token is asked as before', () => {
  expect([tokens.claims(token), tokens.claims('rubbish')]).toEqual([true, false]);
});

test('a bound token is remembered as bound', async () => {
  const session = aSession();
  const thumbprint = 'A'.repeat(43);
  const bound = await checked.sign({ ...session, sessionId: session.id, proofKeyThumbprint: thumbprint, issuedAt: START });
  await tokens.verify(bound);
  expect(await tokens.verify(bound)).toMatchObject({ proofKeyThumbprint: thumbprint });
  expect(verify).toHaveBeenCalledTimes(1);
});

test('a signature is checked once', async () => {
  const first = await tokens.verify(token);
  expect(await tokens.verify(token)).toEqual(first);
  expect(verify).toHaveBeenCalledTimes(1);
});

test('a token that ran out is refused although it was good before', async () => {
  await tokens.verify(token);
  clock.advance(899);
  await tokens.verify(token);
  clock.advance(1);
  await expect(tokens.verify(token)).rejects.toMatchObject({
    code: 'unauthorized',
    message: expect.stringMatching(/has expired/),
  });
});

test('a token that differs in anything from a good one is checked, and a bad one each time', async () => {
  await tokens.verify(token);
  const [header, payload, signature = ''] = token.split('.');
  const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  for (const forged of [`${token}A`, ` ${token}`, [header, payload, flipped].join('.'), [header, payload, ''].join('.')]) {
    await expect(tokens.verify(forged)).rejects.toMatchObject({ code: 'unauthorized' });
    await expect(tokens.verify(forged)).rejects.toMatchObject({ code: 'unauthorized' });
  }
  expect(verify).toHaveBeenCalledTimes(9);
});

test('what was remembered cannot be changed by those who got it', async () => {
  const claims = await tokens.verify(token);
  expect(() => Object.assign(claims, { tenantId: 't_other' })).toThrow(TypeError);
});
