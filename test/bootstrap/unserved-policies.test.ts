import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startAsb } from '../support/asb.ts';
import { type Configured, configured, policies, tenantOf, TENANTS } from '../support/configured.ts';

let file: Configured;
beforeEach(() => {
  file = configured();
});
afterEach(() => file.remove());

const DATABASE = policies({ capability: 'db.read', resource_kind: 'db_role', delivery_modes: ['wrapped_secret'] });
const FORM = policies({ capability: 'browser.login', resource_kind: 'browser_origin', delivery_modes: ['wrapped_secret'] });

describe('a policy that no connector serves', () => {
  test('stops the start, each with what to do about it', async () => {
    tenantOf(file, TENANTS.free).policies = [...policies(), ...DATABASE];
    tenantOf(file, TENANTS.other).policies = [...FORM, ...policies({ capability: 'repo.write' })];
    file.write();
    const started = startAsb({}, { file });
    await expect(started).rejects.toMatchObject({
      problems: [
        'policies: db.read on db_role in tenant t_free: no connector serves it; configure connectors.vault.database for that capability, or drop the policy',
        'policies: browser.login on browser_origin in tenant t_other: no connector serves it; configure connectors.browser for that capability, or drop the policy',
        'policies: repo.write on github_repo in tenant t_other: no connector serves it; set ASB_GITHUB_TOKEN or make ASB a GitHub App, and allow an operation of that capability, or drop the policy',
      ],
    });
  });

  test('does not stop it where a connector is put in by hand', async () => {
    tenantOf(file, TENANTS.free).policies = DATABASE;
    file.write();
    const by = { name: 'own', resourceKind: 'db_role', capabilities: ['db.read'], deliveryModes: [] } as const;
    const asb = await startAsb({}, { file, connectors: [{ ...by, checkResource: () => undefined }] });
    await asb.close();
  });

  test('in a file that is read again leaves the one in force', async () => {
    const asb = await startAsb({}, { file });
    tenantOf(file, TENANTS.free).policies = DATABASE;
    file.write();
    await asb.reload();
    const { session_token: bearer } = await asb.openSession({ tenant_id: TENANTS.free });
    expect(await asb.requestGrant(bearer)).toMatchObject({ state: 'issued' });
    expect(asb.logged.join('\n')).toContain('no connector serves it');
    await asb.close();
  });
});

test('the development tenant has no policy for GitHub where nothing serves it', async () => {
  const asb = await startAsb({ ASB_GITHUB_TOKEN: '' });
  const request = {
    tenant_id: 't_dev',
    agent_id: 'a',
    run_id: 'r',
    tool_context: ['github'],
    attestation: await asb.attestation(),
  };
  expect(await asb.call('createSession', request)).toMatchObject({ ok: false, reason: 'tool_not_registered' });
  expect(asb.logged.join('\n')).toContain('no ASB_GITHUB_TOKEN and no GitHub App');
  await asb.close();
});
