import { describe, expect, it } from 'vitest';
import { makeStaticResolver } from '../../src/connectors/resolver.ts';
import type { Connector, LeaseConnector, ProxyConnector } from '../../src/domain/connector.ts';

const database: Connector = {
  name: 'vaultdb',
  resourceKind: 'db_role',
  capabilities: ['db.read', 'db.write'],
  deliveryModes: ['wrapped_secret'],
  checkResource: () => undefined,
};
const github: ProxyConnector = {
  name: 'github',
  resourceKind: 'github_repo',
  capabilities: ['repo.read'],
  deliveryModes: ['proxy'],
  checkResource: () => undefined,
  prepare: () => ({ send: () => Promise.reject(new Error('not sent here')) }),
};

const leasing: LeaseConnector = {
  ...database,
  issue: () => Promise.reject(new Error('not issued here')),
  revoke: () => Promise.reject(new Error('not revoked here')),
};

describe('the static resolver', () => {
  const resolver = makeStaticResolver([github, database]);

  it('finds a connector by capability and kind of resource', () => {
    expect(resolver.resolve('repo.read', 'github_repo')).toBe(github);
    expect(resolver.resolve('db.write', 'db_role')).toBe(database);
  });

  it('finds none for a capability on another kind of resource, or for one nobody serves', () => {
    expect(resolver.resolve('repo.read', 'db_role')).toBeNull();
    expect(resolver.resolve('repo.write', 'github_repo')).toBeNull();
    expect(resolver.resolve('repo.*', 'github_repo')).toBeNull();
    expect(resolver.resolve('constructor', 'github_repo')).toBeNull();
  });

  it('gives out only connectors that make calls themselves as proxies', () => {
    expect(resolver.resolveProxy('repo.read', 'github_repo')).toBe(github);
    expect(resolver.resolveProxy('db.read', 'db_role')).toBeNull();
    expect(resolver.resolveProxy('db.read', 'github_repo')).toBeNull();
  });

  it('refuses two connectors for the same capability on the same kind, naming both', () => {
    const rival = { ...github, name: 'github-too' };
    expect(() => makeStaticResolver([github, rival])).toThrow(/github and github-too both serve repo\.read on github_repo/);
  });

  it('takes the same capability on two kinds of resource', () => {
    const other: Connector = { ...database, name: 'other', capabilities: ['repo.read'] };
    expect(makeStaticResolver([github, other]).resolve('repo.read', 'db_role')).toBe(other);
  });

  it('gives out only connectors that issue leases for those', () => {
    const leases = makeStaticResolver([github, leasing]);
    expect(leases.resolveLease('db.read', 'db_role')).toBe(leasing);
    expect(leases.resolveLease('repo.read', 'github_repo')).toBeNull();
    expect(leases.resolveLease('db.read', 'github_repo')).toBeNull();
    expect(resolver.resolveLease('db.read', 'db_role')).toBeNull();
  });

  it('finds whoever issued a lease by name', () => {
    const leases = makeStaticResolver([github, leasing]);
    expect(leases.findLeaseConnector('vaultdb')).toBe(leasing);
    expect(leases.findLeaseConnector('github')).toBeNull();
    expect(leases.findLeaseConnector('constructor')).toBeNull();
  });

  it('refuses two connectors of one name that issue leases', () => {
    const twin: LeaseConnector = { ...leasing, resourceKind: 'browser_origin' };
    expect(() => makeStaticResolver([leasing, twin])).toThrow(/two connectors are called vaultdb/);
  });
});
