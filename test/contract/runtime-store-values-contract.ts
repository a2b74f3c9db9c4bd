import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { KEPT_KINDS, type RuntimeStore } from '../../src/domain/runtime-store.ts';
import { after } from '../support/entities.ts';

const aKey = (): string => `key ${randomUUID()}`;
/** Keys that are nearly the same. */
const alike = (key: string): string[] => [key, `${key} `, key.toUpperCase(), `${key}"`, `"${key}"`, `${key}:`, `${key}💥`];

/** What every runtime store must do with revoked tokens and with values that are kept for others. */
export function runtimeStoreValuesContract(store: () => RuntimeStore): void {
  revokedTokens(store);
  keptValues(store);
}

function revokedTokens(store: () => RuntimeStore): void {
  const revoke = (tokenId: string, end = after(60), now = after(0)) => store().revokeToken(tokenId, end, now);
  const isRevoked = (tokenId: string, now = after(1)) => store().isTokenRevoked(tokenId, now);

  it('knows a token that was revoked until it runs out by itself', async () => {
    const tokenId = aKey();
    expect(await isRevoked(tokenId)).toBe(false);
    await revoke(tokenId);
    expect(await isRevoked(tokenId)).toBe(true);
    expect(await isRevoked(tokenId, after(59.999))).toBe(true);
    expect(await isRevoked(tokenId, after(60))).toBe(false);
  });

  it('knows a token for as long as the later of two who revoke it say', async () => {
    const [first, second] = [aKey(), aKey()];
    await revoke(first, after(60));
    await revoke(first, after(90), after(1));
    await revoke(second, after(90));
    await revoke(second, after(60), after(1));
    for (const tokenId of [first, second]) expect(await isRevoked(tokenId, after(89))).toBe(true);
    for (const tokenId of [first, second]) expect(await isRevoked(tokenId, after(90))).toBe(false);
  });

  it('forgets no revoked token for being told of one that has run out', async () => {
    const tokenId = aKey();
    await revoke(tokenId, after(90), after(0));
    await revoke(tokenId, after(5), after(10));
    await revoke(aKey(), after(5), after(10));
    expect(await isRevoked(tokenId, after(10))).toBe(true);
  });

  it('keeps revoked tokens apart that are nearly the same', async () => {
    const [revoked = '', ...others] = alike(aKey());
    await revoke(revoked);
    for (const tokenId of others) expect(await isRevoked(tokenId)).toBe(false);
    for (const tokenId of others) await revoke(tokenId);
    for (const tokenId of others) expect(await isRevoked(tokenId)).toBe(true);
  });

  it('knows a revoked token that still runs when the others are forgotten', async () => {
    const [short, long] = [aKey(), aKey()];
    await revoke(short, after(30));
    await revoke(long, after(600));
    await store().forgetExpired(after(60));
    expect(await isRevoked(short, after(60))).toBe(false);
    expect(await isRevoked(long, after(60))).toBe(true);
  });

  it('takes a claimed or a kept key for no revoked token', async () => {
    const key = aKey();
    await store().claim('proof', key, 'value', after(60), after(0));
    for (const kind of KEPT_KINDS) await store().keep(kind, key, 'value', after(60), after(0));
    expect(await isRevoked(key)).toBe(false);
    await revoke(key);
    for (const kind of KEPT_KINDS) expect(await store().kept(kind, key, after(1))).toBe('value');
    expect(await store().claim('proof', key, 'value', after(60), after(1))).toBe(true);
  });
}

function keptValues(store: () => RuntimeStore): void {
  const keep = (key: string, value: string, end = after(60), now = after(0)) =>
    store().keep('relay_session', key, value, end, now);
  const kept = (key: string, now = after(1)) => store().kept('relay_session', key, now);

  it('keeps a value until its end and not longer', async () => {
    const key = aKey();
    expect(await kept(key)).toBeNull();
    await keep(key, 'value');
    expect(await kept(key)).toBe('value');
    expect(await kept(key, after(59.999))).toBe('value');
    expect(await kept(key, after(60))).toBeNull();
  });

  it('keeps a value in the place of an earlier one, with its own end', async () => {
    const [shorter, longer] = [aKey(), aKey()];
    for (const key of [shorter, longer]) await keep(key, 'first');
    await keep(shorter, 'second', after(30), after(1));
    await keep(longer, 'second', after(90), after(1));
    for (const key of [shorter, longer]) expect(await kept(key, after(29))).toBe('second');
    expect(await kept(shorter, after(30))).toBeNull();
    expect(await kept(longer, after(89))).toBe('second');
    expect(await kept(longer, after(90))).toBeNull();
  });

  it('keeps nothing that is over when it comes, nor what it comes in the place of', async () => {
    const key = aKey();
    await keep(key, 'first');
    await keep(key, 'second', after(10), after(10));
    expect(await kept(key, after(10))).toBeNull();
    expect(await kept(key, after(9))).toBeNull();
  });

  it('has one of fifty values that are kept at once', async () => {
    const key = aKey();
    const values = Array.from({ length: 50 }, (_, index) => `value ${index}`);
    await Promise.all(values.map((value) => keep(key, value)));
    expect(values).toContain(await kept(key));
  });

  it.each(['', ' ', '{"a":"b"}', '💥\u0000\n', "'; DROP TABLE", 'x'.repeat(100_000)])(
    'keeps %j to the letter',
    async (value) => {
      const key = aKey();
      await keep(key, value);
      expect(await kept(key)).toBe(value);
    },
  );

  it('keeps values apart whose keys are nearly the same', async () => {
    const keys = alike(aKey());
    for (const [index, key] of keys.entries()) await keep(key, `value ${index}`);
    for (const [index, key] of keys.entries()) expect(await kept(key)).toBe(`value ${index}`);
  });

  it('keeps the kinds of values apart', async () => {
    const key = aKey();
    for (const kind of KEPT_KINDS) {
      expect(await store().kept(kind, key, after(1))).toBeNull();
      await store().keep(kind, key, `the ${kind}`, after(60), after(0));
    }
    for (const kind of KEPT_KINDS) expect(await store().kept(kind, key, after(1))).toBe(`the ${kind}`);
  });

  it('keeps a value that is good when the others are forgotten', async () => {
    const [short, long] = [aKey(), aKey()];
    await keep(short, 'value', after(30));
    await keep(long, 'value', after(600));
    await store().forgetExpired(after(60));
    expect(await kept(short, after(60))).toBeNull();
    expect(await kept(long, after(60))).toBe('value');
  });
}
