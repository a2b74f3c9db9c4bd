import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Asb, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';
import { openIn } from '../support/approvals.ts';
import { type Configured, configured, tenantOf, TENANTS } from '../support/configured.ts';

let file: Configured;
let asb: Asb;
beforeEach(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterEach(async () => {
  await asb.close();
  file.remove();
});

const ready = async (): Promise<unknown> => {
  const { body } = await asb.raw.send({ method: 'GET', path: '/readyz' });
  return JSON.parse(body.toString());
};
const metric = async (name: string): Promise<number> => {
  // Nobody gets the numbers of the moment twice in a second.
  asb.clock.advance(1);
  const { body } = await asb.raw.send({ method: 'GET', path: '/metrics' });
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body.toString())?.[1]);
};
const free = () => tenantOf(file, TENANTS.free);

describe('a configuration file that changes', () => {
  test('is in force after SIGHUP, for sessions that were open before as well', async () => {
    const { bearer } = await openIn(asb, TENANTS.free);
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    const before = asb.audit.events.at(-1)?.revision;
    Object.assign(free(), { policies: [] });
    file.write();
    await asb.reload();
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: false, reason: 'policy_missing' });
    expect(asb.audit.events.at(-1)?.revision).not.toBe(before);
    Object.assign(free(), { workload_bindings: [] });
    file.write();
    await asb.reload();
    const request = await sessionRequest(asb.attestation, { tenant_id: TENANTS.free });
    expect(await asb.call('createSession', request)).toMatchObject({ ok: false, reason: 'workload_not_bound' });
  });

  test('is in force by itself after a while', async () => {
    const { bearer } = await openIn(asb, TENANTS.free);
    Object.assign(free(), { policies: [] });
    file.write();
    await expect
      .poll(async () => {
        asb.clock.advance(10);
        await new Promise(setImmediate);
        const answer = await asb.call('requestGrant', GRANT_REQUEST, { bearer });
        return answer.ok ? 'granted' : answer.reason;
      })
      .toBe('policy_missing');
  });

  test.each<[name: string, spoil: () => void]>([
    ['has a mistake', () => file.write('version: 1\ntenants:\n  - id: "x y"\n')],
    ['is no YAML', () => file.write('version: [1')],
    ['is empty', () => file.write('')],
    ['is gone', () => rmSync(file.path)],
    ['is a bomb', () => file.write(`a: &a [x]\n${'b: [*a, *a]\n'.repeat(50)}`)],
    [
      'names a key file that is gone',
      () => {
        file.config.delegations = [
          { issuer: 'https://x.example', keys: { pem_file: 'nowhere.pem' }, tenants: [TENANTS.free] },
        ];
        file.write();
      },
    ],
  ])('and %s changes nothing; log, metric and readiness say so', async (_name, spoil) => {
    const { bearer } = await openIn(asb, TENANTS.free);
    const good = await ready();
    expect(good).toMatchObject({ status: 'ready', details: { configuration: expect.stringMatching(/^revision /) } });
    expect(await metric('asb_config_last_reload_successful')).toBe(1);
    spoil();
    await asb.reload();
    expect(await asb.call('requestGrant', GRANT_REQUEST, { bearer })).toMatchObject({ ok: true });
    expect(await ready()).toMatchObject({
      status: 'ready',
      details: { configuration: expect.stringMatching(/^rejected: /) },
    });
    expect(await metric('asb_config_last_reload_successful')).toBe(0);
    expect(asb.logged.join('')).toContain('the configuration in force stays');
  });

  test('is taken up again once it is mended', async () => {
    file.write('version: [1');
    await asb.reload();
    file.write();
    await asb.reload();
    expect(await metric('asb_config_last_reload_successful')).toBe(1);
    expect(await ready()).toMatchObject({ details: { configuration: expect.stringMatching(/^revision /) } });
  });
});
