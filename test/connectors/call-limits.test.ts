import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CallLimits } from '../../src/connectors/call-limits.ts';
import { limitedConnector } from '../../src/connectors/limited-connector.ts';
import type { Connector, IssueRequest, LeaseConnector, ProxyConnector } from '../../src/domain/connector.ts';
import { wasNotCalled } from '../../src/domain/connector.ts';
import {
  BrokerError,
  deadlineExceeded,
  forbidden,
  invalidRequest,
  notFound,
  rateLimited,
  unavailable,
  upstreamError,
} from '../../src/domain/errors.ts';
import type { RevocationId } from '../../src/domain/ids.ts';
import type { ResourceRef } from '../../src/domain/resource.ts';

const LIMITS = { maxConcurrent: 2, maxFailures: 3, pauseSeconds: 10 };
const hanging = (): Promise<never> => new Promise(() => undefined);
const failing = (error: Error = upstreamError('GitHub failed')) => vi.fn(() => Promise.reject(error));
const working = () => vi.fn(() => Promise.resolve('done'));

async function fail(limits: CallLimits, times: number, error?: Error): Promise<void> {
  for (let time = 0; time < times; time += 1) await expect(limits.run(failing(error))).rejects.toThrow();
}

// The breaker has no clock but Date.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-02T03:04:05Z') }));
afterEach(() => void vi.useRealTimers());
const pass = (seconds: number): void => void vi.setSystemTime(Date.now() + seconds * 1000);

describe('calls to one system', () => {
  it('beyond those that may be under way are refused without being made', async () => {
    const limits = new CallLimits('github', LIMITS);
    void limits.run(hanging);
    void limits.run(hanging);
    const call = working();
    await expect(limits.run(call)).rejects.toMatchObject({
      code: 'unavailable',
      reason: 'connector_busy',
      retryAfterSeconds: 1,
      message: 'github has 2 calls under way; try again',
    });
    expect(call).not.toHaveBeenCalled();
  });

  it('make room as they end, well or not', async () => {
    const limits = new CallLimits('github', { ...LIMITS, maxConcurrent: 1 });
    expect(await limits.run(working())).toBe('done');
    await fail(limits, 1);
    expect(await limits.run(working())).toBe('done');
  });

  it('that hang hold up no other system', async () => {
    const [vault, github] = [new CallLimits('vaultdb', LIMITS), new CallLimits('github', LIMITS)];
    for (let count = 0; count < 5; count += 1) void limits(vault);
    expect(await github.run(working())).toBe('done');
    function limits(of: CallLimits) {
      return of.run(hanging).catch(() => undefined);
    }
  });

  it.each([
    ['upstream_error', upstreamError('x')],
    ['unavailable', unavailable('x')],
    ['deadline_exceeded', deadlineExceeded('x')],
  ])('that fail in a row with %s make a pause, in which none is made', async (_, error) => {
    const limits = new CallLimits('vaultdb', LIMITS);
    await fail(limits, 3, error);
    const call = working();
    await expect(limits.run(call)).rejects.toMatchObject({
      code: 'unavailable',
      reason: 'connector_paused',
      retryAfterSeconds: 10,
    });
    expect(call).not.toHaveBeenCalled();
  });

  it.each([
    ['a refusal', forbidden('upstream_refused', 'x', { rule: 'connector:github' })],
    ['what is not found', notFound('x')],
    ['a mistake of the caller', invalidRequest('x')],
    ['a rate limit', rateLimited('x')],
  ])('make no pause by %s, which ends a row of failures', async (_, error) => {
    const limits = new CallLimits('github', LIMITS);
    await fail(limits, 10, error);
    await fail(limits, 2);
    await fail(limits, 1, error);
    await fail(limits, 2);
    expect(await limits.run(working())).toBe('done');
  });

  it('make no pause by callers who leave', async () => {
    const limits = new CallLimits('github', LIMITS);
    await fail(limits, 10, new Error('the caller is gone'));
    expect(await limits.run(working())).toBe('done');
  });

  it('are made again after the pause, one first', async () => {
    const limits = new CallLimits('github', LIMITS);
    await fail(limits, 3);
    pass(9);
    await expect(limits.run(working())).rejects.toMatchObject({ reason: 'connector_paused' });
    pass(1);
    // It still fails: another pause.
    await expect(limits.run(failing())).rejects.toMatchObject({ code: 'upstream_error' });
    await expect(limits.run(working())).rejects.toMatchObject({ reason: 'connector_paused' });
    pass(10);
    expect(await limits.run(working())).toBe('done');
    await fail(limits, 2);
    expect(await limits.run(working())).toBe('done');
  });
});

describe('a connector within limits', () => {
  const resource: ResourceRef = { kind: 'github_repo', name: 'acme/widgets', ref: 'github:repo:acme/widgets' };
  const common: Connector = {
    name: 'both',
    resourceKind: 'github_repo',
    capabilities: ['repo.read'],
    deliveryModes: ['proxy', 'wrapped_secret'],
    checkResource: () => {
      throw invalidRequest('resource_ref: no');
    },
  };
  const options = { signal: new AbortController().signal, spendBytes: () => Promise.resolve() };
  const request: IssueRequest = {
    revocationId: 'rev_1' as RevocationId,
    capability: 'repo.read',
    resource,
    expiresAt: new Date(),
    signal: options.signal,
  };

  it('keeps what it is, and does no more than it did', () => {
    const limited = limitedConnector(common, new CallLimits('both', LIMITS));
    expect(limited).toMatchObject({ name: 'both', resourceKind: 'github_repo', capabilities: ['repo.read'] });
    expect(() => limited.checkResource(resource)).toThrow('resource_ref: no');
    expect('prepare' in limited || 'issue' in limited || 'revoke' in limited).toBe(false);
  });

  it('counts its proxied calls when they are sent, and not when they are prepared', async () => {
    const proxy: ProxyConnector = { ...common, prepare: () => ({ send: hanging }) };
    const limited = limitedConnector(proxy, new CallLimits('both', LIMITS)) as ProxyConnector;
    const calls = Array.from({ length: 3 }, () =>
      limited.prepare({ capability: 'repo.read', resource, operation: 'x', params: {} }),
    );
    void calls[0]?.send(options);
    void calls[1]?.send(options);
    await expect(calls[2]?.send(options)).rejects.toMatchObject({ reason: 'connector_busy' });
  });

  it('counts what it issues and revokes, and a refusal says that nothing was asked for downstream', async () => {
    const lease: LeaseConnector = { ...common, issue: hanging, revoke: hanging };
    const limited = limitedConnector(lease, new CallLimits('both', LIMITS)) as LeaseConnector;
    void limited.issue(request);
    void limited.revoke({ revocationId: request.revocationId, leaseId: null, resource, signal: request.signal });
    const refused = await limited.issue(request).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BrokerError);
    expect(wasNotCalled(refused)).toBe(true);
    expect(wasNotCalled(unavailable('Vault is sealed'))).toBe(false);
  });
});
