import { describe, expect, it } from 'vitest';
import { cutOff, failure, hang } from '../../../dev/github/answers.ts';
import { parseRsaPrivateKey } from '../../../src/crypto/rsa-pem.ts';
import { wasNotCalled } from '../../../src/domain/connector.ts';
import { unavailable } from '../../../src/domain/errors.ts';
import type { RevocationId } from '../../../src/domain/ids.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { makeAppKeys } from '../../support/github-app.ts';
import { useApp } from './app-setup.ts';
import { connectorFor, refusalOf } from './setup.ts';

const world = useApp();
const WIDGETS = parseResourceRef('github:repo:acme/widgets');
const signal = new AbortController().signal;

const issueRequest = (id: string, permissions: Readonly<Record<string, string>> | null = { contents: 'read' }) => ({
  revocationId: id as RevocationId,
  capability: 'repo.read',
  resource: WIDGETS,
  expiresAt: new Date(world().clock.now().getTime() + 300_000),
  permissions,
  signal,
});
const revokeRequest = (id: string, leaseId: string | null) => ({
  revocationId: id as RevocationId,
  leaseId,
  resource: WIDGETS,
  signal,
});

describe('a minted token', () => {
  it('is for the one repository, with the permissions of the policy, until GitHub ends it', async () => {
    const lease = await world().connector.issue(issueRequest('rev_1'));
    const [mint] = world().app.mints;
    expect(lease.fields.map(({ name, value }) => [name, value.reveal()])).toEqual([['token', mint?.token]]);
    expect(mint).toMatchObject({ repository: 'acme/widgets', permissions: { contents: 'read', metadata: 'read' } });
    expect(lease.expiresAt).toEqual(mint?.expiresAt);
    const used = await fetch(`${world().standIn.url}/repos/acme/widgets`, {
      headers: { authorization: `Bearer ${mint?.token}` },
    });
    expect(used.status).toBe(200);
  });

  it('reads when the policy does not say what it may do', async () => {
    await world().connector.issue(issueRequest('rev_1', null));
    expect(world().app.mints[0]?.permissions).toEqual({
      contents: 'read',
      issues: 'read',
      pull_requests: 'read',
      metadata: 'read',
    });
  });

  it('is each grant’s own, also for those who ask at once', async () => {
    const leases = await Promise.all(['rev_1', 'rev_2', 'rev_3'].map((id) => world().connector.issue(issueRequest(id))));
    expect(new Set(leases.map(({ fields }) => fields[0]?.value.reveal())).size).toBe(3);
  });

  it('is never the one that proxied calls are made with', async () => {
    await world().call('repository_metadata');
    const lease = await world().connector.issue(issueRequest('rev_1', null));
    await world().connector.revoke(revokeRequest('rev_1', lease.leaseId));
    await world().call('repository_metadata');
    expect(world().app.mints).toHaveLength(2);
  });

  it('is dead at GitHub once it is revoked, and may be revoked again', async () => {
    const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
    const token = world().app.mints[0]?.token ?? '';
    expect(world().app.isLive(token)).toBe(true);
    await world().connector.revoke(revokeRequest('rev_1', leaseId));
    expect(world().app.isLive(token)).toBe(false);
    await world().connector.revoke(revokeRequest('rev_1', leaseId));
  });

  it('that ran out counts as revoked', async () => {
    const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
    world().clock.advance(3601);
    await world().connector.revoke(revokeRequest('rev_1', leaseId));
  });

  it('can be revoked by another process', async () => {
    const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
    await world().another().revoke(revokeRequest('rev_1', leaseId));
    expect(world().app.isLive(world().app.mints[0]?.token ?? '')).toBe(false);
  });
});

describe('the lease id', () => {
  it('is the token, sealed', async () => {
    const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
    expect(leaseId).toMatch(/^asb1\./);
    const token = world().app.mints[0]?.token ?? '';
    for (const part of leaseId.split('.')) {
      expect(Buffer.from(part, 'base64url').toString('latin1')).not.toContain(token.slice(4));
    }
  });

  it('opens for its own revocation alone', async () => {
    const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
    await expect(world().connector.revoke(revokeRequest('rev_2', leaseId))).rejects.toThrow('for another place');
    expect(world().app.isLive(world().app.mints[0]?.token ?? '')).toBe(true);
  });
});

describe('a token that never became known', () => {
  it('cannot be revoked, and is asked for again until it has run out', async () => {
    const error = await refusalOf(() => world().connector.revoke(revokeRequest('rev_1', null)));
    expect([error.code, error.message]).toEqual([
      'not_found',
      'the token never became known, so GitHub cannot be told to revoke it; it ends within an hour',
    ]);
    expect(world().connector.longestLeaseSeconds).toBe(3660);
  });

  it('may exist when GitHub’s answer broke off', async () => {
    await world().call('repository_metadata');
    world().standIn.answerNext(cutOff(201));
    expect((await refusalOf(() => world().connector.issue(issueRequest('rev_1')))).code).toBe('upstream_error');
  });

  it('is revoked at once when it could not be sealed', async () => {
    const seal = () => Promise.reject(unavailable('no key is at hand'));
    const connector = world().another({ sealer: { ...world().sealer, seal } });
    expect((await refusalOf(() => connector.issue(issueRequest('rev_1')))).code).toBe('unavailable');
    expect(world().app.mints).toHaveLength(1);
    expect(world().app.isLive(world().app.mints[0]?.token ?? '')).toBe(false);
  });
});

describe('no token is minted', () => {
  it.each([
    ['nothing', {}],
    ['a level that GitHub has not got', { contents: 'all' }],
    ['a name that cannot be one', { 'contents"': 'read' }],
  ])('for permissions that are %s', async (_name, permissions) => {
    const error = await refusalOf(() => world().connector.issue(issueRequest('rev_1', permissions)));
    expect(error.code).toBe('invalid_request');
    expect(world().asked()).toEqual([]);
  });

  it('for more than the installation was given', async () => {
    const error = await refusalOf(() => world().connector.issue(issueRequest('rev_1', { administration: 'write' })));
    expect(error.code).toBe('forbidden');
  });

  it('when the broker has waited long enough', async () => {
    world().standIn.answerNext(hang());
    const late = new AbortController();
    const attempt = refusalOf(() => world().connector.issue({ ...issueRequest('rev_1'), signal: late.signal }));
    await world().standIn.nextRequest();
    late.abort();
    expect((await attempt).code).toBe('deadline_exceeded');
  });
});

describe('that no token was made is known', () => {
  it('when the App has another key', async () => {
    const connector = world().another({ privateKey: parseRsaPrivateKey(makeAppKeys().pkcs8) });
    expect(wasNotCalled(await refusalOf(() => connector.issue(issueRequest('rev_1'))))).toBe(true);
  });

  it('when GitHub failed before it was asked for one', async () => {
    world().standIn.answerNext(failure(500, 'Server Error'));
    const error = await refusalOf(() => world().connector.issue(issueRequest('rev_1')));
    expect([error.code, wasNotCalled(error)]).toEqual(['upstream_error', true]);
  });

  it('and not claimed when it failed over it', async () => {
    await world().call('repository_metadata');
    world().standIn.answerNext(failure(500, 'Server Error'));
    const error = await refusalOf(() => world().connector.issue(issueRequest('rev_1')));
    expect([error.code, wasNotCalled(error)]).toEqual(['upstream_error', false]);
  });
});

it.each([500, 403])('a revocation that GitHub answers %i is tried again', async (status) => {
  const { leaseId } = await world().connector.issue(issueRequest('rev_1'));
  world().standIn.answerNext(failure(status, 'no'));
  await refusalOf(() => world().connector.revoke(revokeRequest('rev_1', leaseId)));
  await world().connector.revoke(revokeRequest('rev_1', leaseId));
  expect(world().app.isLive(world().app.mints[0]?.token ?? '')).toBe(false);
});

it('a connector with a token of its own mints none', () => {
  const connector = connectorFor('https://api.github.com');
  expect(connector.deliveryModes).toEqual(['proxy']);
  expect('issue' in connector).toBe(false);
});
