import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeIdSource } from '../../src/crypto/random-ids.ts';
import { FakeClock } from '../support/fake-clock.ts';

const UUID_V7 = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';

const KEY = randomBytes(32);

function setUp(start?: string, handleKey: Uint8Array = KEY) {
  const clock = new FakeClock(start);
  return { clock, ids: makeIdSource({ clock, handleKey }) };
}

const millisecondsOf = (uuid: string) => Number.parseInt(uuid.replaceAll('-', '').slice(0, 12), 16);

describe('ids', () => {
  test('are a prefix and a UUIDv7', () => {
    const { ids } = setUp();
    expect(ids.sessionId()).toMatch(new RegExp(`^sess_${UUID_V7}$`));
    expect(ids.grantId()).toMatch(new RegExp(`^gr_${UUID_V7}$`));
    expect(ids.approvalId()).toMatch(new RegExp(`^ap_${UUID_V7}$`));
    expect(ids.notificationId()).toMatch(new RegExp(`^ntf_${UUID_V7}$`));
    expect(ids.artifactId()).toMatch(new RegExp(`^art_${UUID_V7}$`));
    expect(ids.eventId()).toMatch(new RegExp(`^evt_${UUID_V7}$`));
    expect(ids.tokenId()).toMatch(new RegExp(`^${UUID_V7}$`));
    expect(ids.callId()).toMatch(new RegExp(`^call_${UUID_V7}$`));
    expect(ids.revocationId()).toMatch(new RegExp(`^rev_${UUID_V7}$`));
  });

  test("carry the clock's time", () => {
    const { ids, clock } = setUp('2030-05-06T07:08:09.123Z');
    expect(millisecondsOf(ids.tokenId())).toBe(Date.parse('2030-05-06T07:08:09.123Z'));
    clock.advance(1.5);
    expect(millisecondsOf(ids.tokenId())).toBe(Date.parse('2030-05-06T07:08:10.623Z'));
  });

  test('do not run ahead of the clock, however many one moment makes', () => {
    const { ids, clock } = setUp();
    const moments = new Set(Array.from({ length: 1000 }, () => millisecondsOf(ids.tokenId())));
    expect([...moments]).toEqual([clock.now().getTime()]);
  });

  test('sort in the order they were made, within a millisecond and when the clock steps back', () => {
    const { ids, clock } = setUp();
    const made = Array.from({ length: 3000 }, (_, index) => {
      if (index === 1000) clock.advance(0.001);
      if (index === 2000) clock.advance(-3600);
      return ids.tokenId();
    });
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
  });

  test('of two processes at the same moment differ', () => {
    const [one, other] = [setUp().ids, setUp().ids];
    const made = Array.from({ length: 1000 }, () => [one.tokenId(), other.tokenId()]).flat();
    expect(new Set(made).size).toBe(made.length);
  });
});

describe('handles', () => {
  test('are ph_ and 256 bits in base64url', () => {
    const { ids } = setUp();
    const handle = ids.proxyHandle(ids.artifactId());
    expect(handle).toMatch(/^ph_[\w-]{43}$/);
    expect(Buffer.from(handle.slice(3), 'base64url')).toHaveLength(32);
  });

  test('are the same whenever they are asked for, in every process with the key, and differ by artifact', () => {
    const { ids } = setUp();
    const artifacts = Array.from({ length: 1000 }, () => ids.artifactId());
    const made = artifacts.map((artifact) => ids.proxyHandle(artifact));
    expect(artifacts.map((artifact) => setUp('2030-01-01T00:00:00Z').ids.proxyHandle(artifact))).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
  });

  test('tell nobody without the key what they are', () => {
    const { ids } = setUp();
    const artifact = ids.artifactId();
    expect(setUp(undefined, randomBytes(32)).ids.proxyHandle(artifact)).not.toBe(ids.proxyHandle(artifact));
    expect(() => setUp(undefined, randomBytes(31))).toThrow('too short');
  });

  test('are hashed whole, with SHA-256', () => {
    const { ids } = setUp();
    expect(ids.hashHandle('ph_abc')).toBe(createHash('sha256').update('ph_abc').digest('hex'));
    expect(ids.hashHandle('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });
});
