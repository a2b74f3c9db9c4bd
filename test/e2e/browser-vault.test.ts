import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { makeRelayKeys, type RelayKeys } from '../../dev/browser/relay-keys.ts';
import { startVaultStandIn, type VaultStandIn } from '../../dev/vault/server.ts';
import { makeToken, vaultOperator } from '../../dev/vault/set-up.ts';
import { type Asb, bodyOf, startAsb } from '../support/asb.ts';
import { FORM_REQUEST, opened, ORIGIN, PASSWORD, registration, unwrap, unwrapping, USERNAME } from '../support/browser.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import { expectNoneIn, writtenDown } from '../support/dumps.ts';
import { FakeClock } from '../support/fake-clock.ts';

const FILE_ORIGIN = 'https://travel.example';
const PLAIN_ORIGIN = 'https://wiki.example';
const FILE_PASSWORD = 'CANARY-of-a-file ';
const SECRET = /^secret\/data\/forms\/ledger$/;

const TOOL = {
  name: 'browser',
  manifest_hash: `sha256:${'0'.repeat(64)}`,
  runtime_class: 'browser',
  delivery_modes: ['wrapped_secret'],
  capabilities: ['browser.*'],
  trust_tags: ['trusted'],
};
const POLICY = {
  capability: 'browser.login',
  resource_kind: 'browser_origin',
  delivery_modes: ['wrapped_secret'],
  default_ttl: '2m',
  max_ttl: '5m',
  approval: 'none',
};

let vault: VaultStandIn;
let vaultToken: string;
let file: Configured;
let trusted: RelayKeys;
let asb: Asb;

/** Tenants that let the browser in; the last one lets values out in the clear as well. */
function withBrowsers(config: Configured['config']): void {
  for (const tenant of config.tenants) {
    const plain = tenant.id === TENANTS.reuse ? { browser_plain_values: true } : {};
    const approval = tenant.id === TENANTS.human ? { required: 1 } : 'none';
    tenant.tools = [...z.array(z.unknown()).parse(tenant.tools), TOOL];
    tenant.policies = [...z.array(z.unknown()).parse(tenant.policies), { ...POLICY, approval, ...plain }];
  }
}

beforeAll(async () => {
  vault = await startVaultStandIn({ clock: new FakeClock() });
  const ask = vaultOperator(vault.url, vault.rootToken);
  await ask('POST', 'sys/mounts/secret', { type: 'kv', options: { version: '2' } });
  await ask('POST', 'secret/data/forms/ledger', {
    data: { username: USERNAME, login_password: PASSWORD, other: 'CANARY-of-another-key' },
  });
  const policy = JSON.stringify({ path: { 'secret/data/forms/ledger': { capabilities: ['read'] } } });
  await ask('POST', 'sys/policies/acl/asb', { policy });
  vaultToken = await makeToken(ask, { policies: ['asb'] });
  trusted = await makeRelayKeys('trusted');
  file = configured();
  withBrowsers(file.config);
  writeFileSync(join(file.folder, 'vault.token'), vaultToken, { mode: 0o600 });
  writeFileSync(join(file.folder, 'travel.password'), `${FILE_PASSWORD}\n`, { mode: 0o600 });
  file.config.connectors = {
    vault: { address: vault.url, login: { method: 'token', token_file: 'vault.token' } },
    browser: {
      forms: [
        {
          origin: ORIGIN,
          vault: { path: 'forms/ledger' },
          inputs: [
            { name: 'username', selector: '#user' },
            { name: 'password', vault_key: 'login_password' },
          ],
        },
        {
          origin: FILE_ORIGIN,
          inputs: [
            { name: 'username', value: 'bookings', selector: '#user' },
            { name: 'password', value_file: 'travel.password', selector: '#password' },
          ],
        },
        { origin: PLAIN_ORIGIN, inputs: [{ name: 'pin', value: '1234', selector: '#pin' }] },
      ],
      limits: { failures_before_pause: 1000 },
    },
  };
  file.write();
  asb = await startAsb({}, { file });
});
afterAll(async () => {
  await asb.close();
  await vault.close();
  file.remove();
});

const granted = z.object({ grant_id: z.string(), delivery: z.object({ artifact_id: z.string() }) });

async function aSession(tenant: string = TENANTS.free) {
  const opened = await asb.openSession({ tenant_id: tenant, tool_context: ['browser'] });
  return opened.session_token;
}

const asking = (origin: string) => ({ ...FORM_REQUEST, resource_ref: `browser_origin:${origin}` });

async function aRelay(bearer: string, origin = ORIGIN, changes: Record<string, JsonValue> = {}, keys = trusted) {
  const relay = { keys, bearer, origin, tabId: '3' };
  bodyOf(await asb.call('registerBrowserRelay', { ...registration(keys, relay), ...changes }, { bearer }));
  return relay;
}

describe('a form whose values Vault keeps', () => {
  test('is filled with what is there now, where the relay found its inputs', async () => {
    const bearer = await aSession();
    const relay = await aRelay(bearer, ORIGIN, { selectors: { password: '#found' } });
    const { delivery } = granted.parse(bodyOf(await asb.call('requestGrant', asking(ORIGIN), { bearer })));
    const answer = await unwrap(asb, delivery.artifact_id, relay);
    expect(answer.fields.map(({ name, selector }) => [name, selector])).toEqual([
      ['username', '#user'],
      ['password', '#found'],
    ]);
    expect(await opened(answer, relay)).toEqual({ username: USERNAME, password: PASSWORD });
  });

  test('cannot be registered for before every input is found', async () => {
    const bearer = await aSession();
    const body = registration(trusted, { origin: ORIGIN, tabId: '3' });
    const refused = await asb.call('registerBrowserRelay', body, { bearer });
    expect(refused).toMatchObject({ code: 'invalid_request', message: expect.stringMatching(/^selectors\.password: /) });
  });

  type Failure = readonly [name: string, status: number, body: unknown, code: string];
  test.each<Failure>([
    ['that is sealed', 503, { errors: ['Vault is sealed'] }, 'upstream_error'],
    ['that refuses', 403, { errors: ['permission denied CANARY'] }, 'forbidden'],
    ['that does not have it', 404, { errors: [] }, 'not_found'],
    ['that wants less', 429, { errors: [] }, 'rate_limited'],
    ['that fails', 500, { errors: ['CANARY'] }, 'upstream_error'],
    ['that answers something else', 200, { data: { username: 'CANARY' } }, 'upstream_error'],
    ['that has no such key', 200, { data: { data: { username: 'CANARY' }, metadata: {} } }, 'upstream_error'],
    [
      'that has no text there',
      200,
      { data: { data: { username: 'CANARY', login_password: { CANARY: 1 } }, metadata: {} } },
      'upstream_error',
    ],
  ])('comes to nothing with a Vault %s, and the answer quotes nothing', async (_name, status, body, code) => {
    const bearer = await aSession();
    vault.answerNext(SECRET, (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    const refused = await asb.call('requestGrant', { ...asking(ORIGIN), request_id: 'r' }, { bearer });
    expect(refused).toMatchObject({ ok: false, code });
    expect(JSON.stringify(refused)).not.toContain('CANARY');
    // The same request tells what became of it.
    expect(bodyOf(await asb.call('requestGrant', { ...asking(ORIGIN), request_id: 'r' }, { bearer }))).toMatchObject({
      state: 'expired',
      end_reason: 'could not be issued',
    });
  });

  test('comes to nothing with a Vault that hangs, in ten seconds', async () => {
    const bearer = await aSession();
    const asked = Promise.withResolvers<undefined>();
    vault.answerNext(SECRET, () => asked.resolve(undefined));
    const answer = asb.clients[0].call('requestGrant', asking(ORIGIN), { bearer });
    await asked.promise;
    asb.clock.advance(11);
    expect(await answer).toMatchObject({ ok: false, code: 'deadline_exceeded' });
  });

  test('comes to nothing when it fails after a person has approved, and the next request works', async () => {
    const bearer = await aSession(TENANTS.human);
    const relay = await aRelay(bearer, ORIGIN, { selectors: { password: '#p' } });
    const ask = async () => {
      const waiting = z.object({ approval_id: z.string(), grant_id: z.string() });
      return waiting.parse(bodyOf(await asb.call('requestGrant', asking(ORIGIN), { bearer })));
    };
    const approve = async (approvalId: string) =>
      asb.call('approveGrant', { approval_id: approvalId }, { bearer: await asb.operatorToken(['approver']) });
    const first = await ask();
    vault.answerNext(SECRET, (request) => void request.socket.resetAndDestroy());
    expect(await approve(first.approval_id)).toMatchObject({ ok: false, code: 'upstream_error' });
    expect(bodyOf(await asb.call('getGrant', { grant_id: first.grant_id }, { bearer }))).toMatchObject({ state: 'expired' });
    const second = await ask();
    bodyOf(await approve(second.approval_id));
    const { delivery } = granted.parse(bodyOf(await asb.call('getGrant', { grant_id: second.grant_id }, { bearer })));
    expect(await opened(await unwrap(asb, delivery.artifact_id, relay), relay)).toMatchObject({ password: PASSWORD });
  });
});

test('a form whose values are in files has what is in them but for the last line break', async () => {
  const bearer = await aSession();
  const relay = await aRelay(bearer, FILE_ORIGIN);
  const { delivery } = granted.parse(bodyOf(await asb.call('requestGrant', asking(FILE_ORIGIN), { bearer })));
  const answer = await unwrap(asb, delivery.artifact_id, relay);
  expect(await opened(answer, relay)).toEqual({ username: 'bookings', password: FILE_PASSWORD });
});

test('values leave in the clear where the policy says so, to a relay that has no key', async () => {
  const bearer = await aSession(TENANTS.reuse);
  const relay = await aRelay(bearer, PLAIN_ORIGIN, { public_key: '' });
  const { delivery } = granted.parse(bodyOf(await asb.call('requestGrant', asking(PLAIN_ORIGIN), { bearer })));
  const { fields } = await unwrap(asb, delivery.artifact_id, relay);
  expect(fields).toEqual([{ name: 'pin', selector: '#pin', value: '1234' }]);
});

describe('when the configuration changes while a credential waits', () => {
  const browserSettings = () =>
    z.looseObject({ browser: z.looseObject({ forms: z.array(z.unknown()) }) }).parse(file.config.connectors);

  async function whileReloaded(
    change: (settings: ReturnType<typeof browserSettings>['browser']) => void,
    use: () => Promise<void>,
  ) {
    const before = file.config.connectors;
    const next = structuredClone(browserSettings());
    change(next.browser);
    file.config.connectors = next;
    file.write();
    await asb.reload();
    try {
      await use();
    } finally {
      file.config.connectors = before;
      file.write();
      await asb.reload();
    }
  }

  async function waiting() {
    const bearer = await aSession();
    const relay = await aRelay(bearer, FILE_ORIGIN);
    const { delivery } = granted.parse(bodyOf(await asb.call('requestGrant', asking(FILE_ORIGIN), { bearer })));
    return { bearer, relay, artifactId: delivery.artifact_id };
  }

  const attempt = ({ bearer, relay, artifactId }: Awaited<ReturnType<typeof waiting>>) =>
    asb.call('unwrapArtifact', unwrapping(artifactId, relay), { bearer });

  test('a key that is trusted no more gets nothing, and neither does one that registers', async () => {
    const scene = await waiting();
    await whileReloaded(
      (browser) => (browser.trusted_relay_keys = ['x'.repeat(43)]),
      async () => {
        expect(await attempt(scene)).toMatchObject({ code: 'forbidden', reason: 'relay_key_not_trusted' });
        const other = await aSession();
        const body = registration(trusted, { origin: FILE_ORIGIN, tabId: '1' });
        const refused = await asb.call('registerBrowserRelay', body, { bearer: other });
        expect(refused).toMatchObject({ code: 'forbidden', reason: 'relay_key_not_trusted', rule: 'connector:browser' });
        const keyless = await asb.call('registerBrowserRelay', { ...body, public_key: '' }, { bearer: other });
        expect(keyless).toMatchObject({ code: 'forbidden', reason: 'relay_key_not_trusted' });
      },
    );
    expect(await attempt(scene)).toMatchObject({ ok: true });
  });

  test('the key that is trusted gets it', async () => {
    await whileReloaded(
      (browser) => (browser.trusted_relay_keys = [trusted.thumbprint]),
      async () => expect(await attempt(await waiting())).toMatchObject({ ok: true }),
    );
  });

  test('an origin that is configured no more is filled no more', async () => {
    const scene = await waiting();
    await whileReloaded(
      (browser) => (browser.forms = browser.forms.slice(2)),
      async () => expect(await attempt(scene)).toMatchObject({ code: 'not_found' }),
    );
    expect(await attempt(scene)).toMatchObject({ ok: true });
  });

  test('a form with another input is not filled with what belonged into the one before', async () => {
    const scene = await waiting();
    await whileReloaded(
      (browser) => {
        const inputs = [
          { name: 'comment', value: 'x', selector: '#c' },
          { name: 'username', value: 'x', selector: '#u' },
        ];
        browser.forms = [{ origin: FILE_ORIGIN, inputs }];
      },
      async () => expect(await attempt(scene)).toMatchObject({ code: 'conflict' }),
    );
    expect(await attempt(scene)).toMatchObject({ ok: true });
  });
});

test('no secret of it occurs in a log line, an event, a metric or a store, nor one that was read along', async () => {
  const bearer = await aSession();
  bodyOf(await asb.call('requestGrant', asking(ORIGIN), { bearer }));
  const everywhere = await writtenDown(asb);
  expect(everywhere).toContain(ORIGIN);
  expectNoneIn(everywhere, [USERNAME, PASSWORD, FILE_PASSWORD.trim(), 'CANARY-of-another-key', vaultToken]);
});
