import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { guardedLookup, type LookupAll } from '../../src/connectors/guarded-lookup.ts';
import { makeUpstream } from '../../src/connectors/github/upstream.ts';

/** A resolver that answers every name with these addresses. */
const answering =
  (...addresses: string[]): LookupAll =>
  (_hostname, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );

function resolve(
  addresses: readonly string[],
  { allowed = [], hostname = 'api.example.com', all = true }: { allowed?: string[]; hostname?: string; all?: boolean } = {},
): Promise<string | LookupAddress[]> {
  return new Promise((done, fail) => {
    guardedLookup(allowed, answering(...addresses))(hostname, { all }, (error, found) => {
      if (error === null) done(found);
      else fail(error);
    });
  });
}

describe('the name of an upstream', () => {
  it.each([
    '140.82.121.6',
    '2606:50c0:8000::64',
    // Internal networks, where Vault and GitHub Enterprise Server are.
    '10.1.2.3',
    '172.16.0.9',
    '192.168.1.1',
    'fd12:3456::1',
    '64:ff9b::8c52:7906',
  ])('may lead to %s', async (address) => {
    expect(await resolve([address])).toEqual([expect.objectContaining({ address })]);
  });

  it.each([
    '127.0.0.1',
    '127.8.9.1',
    '0.0.0.0',
    '169.254.169.254',
    '169.254.0.1',
    '255.255.255.255',
    '224.0.0.1',
    '100.100.100.200',
    '192.0.0.192',
    '::1',
    '::',
    'fe80::1',
    'fd00:ec2::254',
    'ff02::1',
    // The same in other clothes: mapped, by NAT64, by 6to4, by Teredo.
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001::1',
  ])('may not lead to %s', async (address) => {
    await expect(resolve([address])).rejects.toMatchObject({ code: 'ASB_REFUSED_ADDRESS' });
  });

  it('is refused when one of its addresses is, wherever it stands', async () => {
    await expect(resolve(['140.82.121.6', '169.254.169.254'])).rejects.toThrow(
      /api\.example\.com resolves to 169\.254\.169\.254/,
    );
    await expect(resolve(['127.0.0.1', '140.82.121.6'], { all: false })).rejects.toThrow(/127\.0\.0\.1/);
  });

  it('may lead where the operator allows it to, and nowhere else', async () => {
    const allowed = ['127.0.0.0/8', 'fe80::/10'];
    expect(await resolve(['127.0.0.1', 'fe80::1'], { allowed })).toHaveLength(2);
    await expect(resolve(['169.254.169.254'], { allowed })).rejects.toThrow(/169\.254\.169\.254/);
    await expect(resolve(['::1'], { allowed })).rejects.toThrow(/::1/);
  });

  it.each(['localhost', 'LOCALHOST', 'vault.localhost', 'localhost.'])(
    'may be %s, the word for this machine',
    async (hostname) => {
      expect(await resolve(['127.0.0.1'], { hostname })).toHaveLength(1);
    },
  );

  it.each(['localhost.example.com', 'notlocalhost', 'xlocalhost'])(
    'gains nothing by looking like it: %s',
    async (hostname) => {
      await expect(resolve(['127.0.0.1'], { hostname })).rejects.toMatchObject({ code: 'ASB_REFUSED_ADDRESS' });
    },
  );

  it('is answered as asked: with one address, or with all', async () => {
    const two = ['140.82.121.6', '140.82.121.5'];
    expect(await resolve(two, { all: false })).toBe('140.82.121.6');
    expect(await resolve(two)).toHaveLength(2);
  });

  it('without an address, or that cannot be resolved, is an error', async () => {
    await expect(resolve([])).rejects.toThrow(/has no address/);
    const failing: LookupAll = (_hostname, _options, callback) => callback(new Error('ENOTFOUND'), []);
    const asked = new Promise((done, fail) =>
      guardedLookup([], failing)('x', {}, (error) => (error ? fail(error) : done(null))),
    );
    await expect(asked).rejects.toThrow('ENOTFOUND');
  });

  it('is checked before a connection is made', async () => {
    const upstream = makeUpstream(guardedLookup([], answering('127.0.0.1')));
    const request = { method: 'GET' as const, body: null, headers: {}, signal: new AbortController().signal };
    await expect(upstream('http://api.example.com:9/', request)).rejects.toMatchObject({ code: 'ASB_REFUSED_ADDRESS' });
  });

  it('allowed by a range that is none stops the start', () => {
    expect(() => guardedLookup(['127.0.0.1/99'])).toThrow();
  });
});
