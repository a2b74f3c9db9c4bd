import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeIdSource } from '../../src/crypto/random-ids.ts';
import { FakeClock } from '../support/fake-clock.ts';

const UUID_V7 = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';

function setUp(start?: string) {
  const clock = new FakeClock(start);
  return { clock, ids: makeIdSource({ clock }) };
}

const millisecondsOf = (uuid: string) => Number.parseInt(uuid.replaceAll('-', '').slice(0, 12), 16);

describe('ids', () => {
  test('are a prefix and a UUIDv7', () => {
    const { ids } = setUp();
    expect(ids.sessionId()).toMatch(new RegExp(`^sess_${UUID_V7}$`));
    expect(ids.grantId()).toMatch(new RegExp(`^gr_${UUID_V7}$`));
    expect(ids.artifactId()).toMatch(new RegExp(`^art_${UUID_V7}$`));
    expect(ids.eventId()).toMatch(new RegExp(`^evt_${UUID_V7}$`));
    expect(ids.tokenId()).toMatch(new RegExp(`^${UUID_V7}$`));
    expect(ids.slotId()).toMatch(new RegExp(`^${UUID_V7}$`));
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
    const handle = setUp().ids.proxyHandle();
    expect(handle).toMatch(/^ph_[\w-]{43}$/);
    expect(Buffer.from(handle.slice(3), 'base64url')).toHaveLength(32);
  });

  test('owe nothing to the clock, and never repeat', () => {
    const made = Array.from({ length: 1000 }, () => setUp().ids.proxyHandle());
    expect(new Set(made).size).toBe(made.length);
  });

  test('are hashed whole, with SHA-256', () => {
    const { ids } = setUp();
    expect(ids.hashHandle('ph_abc')).toBe(createHash('sha256').update('ph_abc').digest('hex'));
    expect(ids.hashHandle('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });
});
