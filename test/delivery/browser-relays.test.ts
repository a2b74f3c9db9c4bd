import { beforeEach, expect, test } from 'vitest';
import { makeBrowserRelays } from '../../src/delivery/browser-relays.ts';
import type { BrowserRelay, RelayPublicKey } from '../../src/domain/browser-relay.ts';
import type { SessionId } from '../../src/domain/ids.ts';
import { MemoryRuntimeStore } from '../../src/store/memory/memory-runtime-store.ts';
import { OTHER_TENANT, TENANT } from '../support/entities.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const after = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);
const RELAY: BrowserRelay = {
  tenantId: TENANT,
  sessionId: 'sess_1' as SessionId,
  keyId: 'key-1',
  key: { publicKey: '{"kty":"OKP"}' as RelayPublicKey, thumbprint: 'print' },
  origin: 'https://app.example',
  tabId: '7',
  selectors: { username: '#user', password: '#password' },
  expiresAt: after(60),
};

let runtime: MemoryRuntimeStore;
let relays: ReturnType<typeof makeBrowserRelays>;
beforeEach(() => {
  runtime = new MemoryRuntimeStore();
  relays = makeBrowserRelays({ runtime });
});

test('a relay is found as it was registered, until it ends', async () => {
  expect(await relays.find(RELAY, NOW)).toBeNull();
  expect(await relays.register(RELAY, NOW)).toEqual(RELAY);
  expect(await relays.find(RELAY, after(59))).toEqual(RELAY);
  expect(await relays.find(RELAY, after(60))).toBeNull();
});

test('a relay without a key is found as one', async () => {
  await relays.register({ ...RELAY, key: null }, NOW);
  expect(await relays.find(RELAY, NOW)).toMatchObject({ key: null });
});

test.each<[what: string, changes: Partial<BrowserRelay>]>([
  ['tenant', { tenantId: OTHER_TENANT }],
  ['session', { sessionId: 'sess_2' as SessionId }],
  ['key id', { keyId: 'key-2' }],
])('one of another %s is not found', async (_what, changes) => {
  await relays.register(RELAY, NOW);
  expect(await relays.find({ ...RELAY, ...changes }, NOW)).toBeNull();
  expect(await relays.register({ ...RELAY, ...changes, tabId: '8' }, NOW)).toMatchObject({ tabId: '8' });
  expect(await relays.find(RELAY, NOW)).toEqual(RELAY);
});

test('names cannot be put together so that one reads as another', async () => {
  await relays.register({ ...RELAY, sessionId: 'a' as SessionId, keyId: 'b","c' }, NOW);
  expect(await relays.find({ ...RELAY, sessionId: 'a","b' as SessionId, keyId: 'c' }, NOW)).toBeNull();
});

test.each<[what: string, changes: Partial<BrowserRelay>]>([
  ['key', { key: { publicKey: '{"kty":"EC"}' as RelayPublicKey, thumbprint: 'other' } }],
  ['key, which is none', { key: null }],
  ['origin', { origin: 'https://evil.example' }],
  ['tab', { tabId: '8' }],
  ['place on the page', { selectors: { username: '#user', password: '#comment' } }],
])('a name is not given to a relay with another %s', async (_what, changes) => {
  await relays.register(RELAY, NOW);
  expect(await relays.register({ ...RELAY, ...changes }, after(1))).toBeNull();
  expect(await relays.find(RELAY, after(1))).toEqual(RELAY);
});

test('the same relay, again, stays as it was', async () => {
  await relays.register(RELAY, NOW);
  const again = { ...RELAY, selectors: { password: '#password', username: '#user' }, expiresAt: after(600) };
  expect(await relays.register(again, after(1))).toEqual(RELAY);
});

test('a name that ran out may be given anew', async () => {
  await relays.register(RELAY, NOW);
  const next = { ...RELAY, tabId: '8', expiresAt: after(120) };
  expect(await relays.register(next, after(60))).toEqual(next);
});

test('who claimed a name and died before it was kept may come again', async () => {
  const dying = makeBrowserRelays({
    runtime: {
      claim: (...args) => runtime.claim(...args),
      kept: (...args) => runtime.kept(...args),
      keep: () => Promise.reject(new Error('killed')),
    },
  });
  await expect(dying.register(RELAY, NOW)).rejects.toThrow('killed');
  expect(await relays.register({ ...RELAY, tabId: '8' }, NOW)).toBeNull();
  expect(await relays.register(RELAY, NOW)).toEqual(RELAY);
});

test('a session has so many relays at once and no more, and a place is free again when one ran out', async () => {
  for (let number = 0; number < 8; number += 1) await relays.register({ ...RELAY, keyId: `key-${number}` }, NOW);
  const ninth = { ...RELAY, keyId: 'key-8', expiresAt: after(120) };
  await expect(relays.register(ninth, after(1))).rejects.toMatchObject({ code: 'resource_budget_exceeded' });
  expect(await relays.find(ninth, after(1))).toBeNull();
  expect(await relays.register({ ...RELAY, keyId: 'key-3' }, after(1))).toMatchObject({ keyId: 'key-3' });
  expect(await relays.register({ ...ninth, sessionId: 'sess_2' as SessionId }, after(1))).not.toBeNull();
  expect(await relays.register(ninth, after(60))).toEqual(ninth);
});

test('what another version kept is not half understood', async () => {
  await runtime.keep('relay_session', JSON.stringify([TENANT, 'sess_1', 'key-1']), '{"origin":"x"}', after(60), NOW);
  await expect(relays.find(RELAY, NOW)).rejects.toThrow();
});
