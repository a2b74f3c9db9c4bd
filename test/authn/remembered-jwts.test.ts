import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { type KeySource, namedKeys } from '../../src/authn/key-source.ts';
import type { VerificationKey } from '../../src/authn/pem-keys.ts';
import type { TokenReview } from '../../src/authn/token-review.ts';
import { unavailable } from '../../src/domain/errors.ts';
import { AUDIENCE, ecKey, ISSUER, makeEcKey, mintProjectedToken, rsaKey } from '../support/attestations.ts';
import { FakeClock } from '../support/fake-clock.ts';

// Keys that a test can withdraw, as an issuer does.
class ChangingKeys implements KeySource {
  keys: readonly VerificationKey[];
  isAway = false;

  constructor(...keys: VerificationKey[]) {
    this.keys = keys;
  }

  find(hint: { alg: string; kid: string | null }): readonly VerificationKey[] {
    if (this.isAway) throw unavailable('the keys cannot be fetched');
    return namedKeys(this.keys, hint) ?? [];
  }
}

let clock: FakeClock;
let keys: ChangingKeys;
let checks: MockInstance<typeof globalThis.crypto.subtle.verify>;
beforeEach(() => {
  clock = new FakeClock();
  keys = new ChangingKeys(rsaKey, ecKey);
  checks = vi.spyOn(globalThis.crypto.subtle, 'verify');
});
afterEach(() => checks.mockRestore());

function attestation({ source = keys, review = null }: { source?: KeySource; review?: TokenReview | null } = {}) {
  const verifier = makeK8sAttestation({ issuer: ISSUER, audience: AUDIENCE, keys: source, clock, review });
  return (token: string) => verifier.verify({ kind: 'k8s_sa_jwt', token });
}

test.each([
  ['the only key', () => ({ fixed: [ecKey], find: () => [ecKey] })],
  ['one of several', () => ({ fixed: [rsaKey, ecKey], find: () => [ecKey] })],
  ['one that is fetched', () => keys],
])('the signature of a pod that comes again is checked once, by %s', async (_, source) => {
  const verify = attestation({ source: source() });
  const token = await mintProjectedToken({ now: clock.now(), key: ecKey });
  const first = await verify(token);
  expect(await verify(token)).toEqual(first);
  expect(checks).toHaveBeenCalledTimes(1);
});

test('a token is let in no longer than it would be without a memory', async () => {
  const verify = attestation();
  const token = await mintProjectedToken({ now: clock.now() });
  await verify(token);
  clock.advance(3600 + 29);
  await verify(token);
  expect(checks).toHaveBeenCalledTimes(2);
  clock.advance(1);
  await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized', message: expect.stringMatching(/expired/) });
});

test('a token that is not valid yet for a clock that was set back is refused', async () => {
  const verify = attestation();
  const start = clock.now().getTime() / 1000;
  clock.advance(1000);
  const token = await mintProjectedToken({ now: clock.now(), claims: { nbf: start + 1000 } });
  await verify(token);
  clock.advance(-1000);
  await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
});

test('a token whose key the issuer has withdrawn is refused, although it was good before', async () => {
  const verify = attestation();
  const token = await mintProjectedToken({ now: clock.now(), key: ecKey });
  await verify(token);
  keys.keys = [rsaKey, makeEcKey()];
  await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
  // The same name for another key is another key.
  keys.keys = [rsaKey, { ...makeEcKey(), kid: ecKey.kid }];
  await expect(verify(token)).rejects.toMatchObject({ code: 'unauthorized' });
});

test('a token that was good before gets nobody in while the keys cannot be had', async () => {
  const verify = attestation();
  const token = await mintProjectedToken({ now: clock.now() });
  await verify(token);
  keys.isAway = true;
  await expect(verify(token)).rejects.toMatchObject({ code: 'unavailable' });
});

test('a token that differs in anything from a good one is checked, and a bad one each time', async () => {
  const verify = attestation();
  const token = await mintProjectedToken({ now: clock.now(), key: rsaKey });
  await verify(token);
  const [header, payload, signature = ''] = token.split('.');
  const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  const forged = [header, payload, flipped].join('.');
  for (let time = 0; time < 2; time += 1) await expect(verify(forged)).rejects.toMatchObject({ code: 'unauthorized' });
  expect(checks).toHaveBeenCalledTimes(3);
});

test('whether the pod is still there is asked every time', async () => {
  const confirm = vi.fn<TokenReview['confirm']>(() => Promise.resolve());
  const verify = attestation({ review: { confirm } });
  const token = await mintProjectedToken({ now: clock.now() });
  await verify(token);
  await verify(token);
  expect(confirm).toHaveBeenCalledTimes(2);
});
