import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { Secret } from '../../../src/domain/secret.ts';
import { type Asb, bodyOf, startAsb } from '../../support/asb.ts';
import { configured, type Configured, TENANTS } from '../../support/configured.ts';
import { makeCacheConnector } from './cache-connector.ts';

const REQUEST = {
  tool: 'cache',
  capability: 'cache.read',
  resource_ref: 'dbrole:cache-orders',
  delivery_mode: 'wrapped_secret',
  reason: 'look an order up',
};
const granted = z.object({ grant_id: z.string(), delivery: z.object({ artifact_id: z.string() }) });

/** The cache: its users, by the ids under which they were made. */
const users = new Map<string, { password: string; body: unknown }>();
let status = 200;
let server: Server;
let file: Configured;
let asb: Asb;
beforeAll(async () => {
  server = createServer((request, response) => {
    void (async () => {
      const id = request.url?.split('/').at(-1) ?? '';
      const body = request.method === 'PUT' ? await json(request) : null;
      if (status === 200 && request.method === 'PUT') users.set(id, { password: `CANARY-${id}`, body });
      if (status === 200 && request.method === 'DELETE') users.delete(id);
      const answer = { user: `u-${id}`, password: users.get(id)?.password };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  file = configured();
  const [tenant] = file.config.tenants;
  const tool = { name: 'cache', manifest_hash: `sha256:${'1'.repeat(64)}`, runtime_class: 'sidecar' };
  const modes = { delivery_modes: ['wrapped_secret'] };
  Object.assign(tenant ?? {}, {
    tools: [{ ...tool, ...modes, capabilities: ['cache.read'] }],
    policies: [
      { capability: 'cache.read', resource_kind: 'db_role', ...modes, default_ttl: '5m', max_ttl: '5m', approval: 'none' },
    ],
  });
  file.write();
  asb = await startAsb({}, { file, connectors: [makeCacheConnector({ url, adminToken: new Secret('CANARY-admin') })] });
});
afterAll(async () => {
  await asb.close();
  file.remove();
  server.close();
});

const aSession = async () => (await asb.openSession({ tenant_id: TENANTS.free, tool_context: ['cache'] })).session_token;

describe('the sample connector', () => {
  test('issues a user for one grant, hands it out once, and removes it with the grant', async () => {
    const bearer = await aSession();
    const { grant_id, delivery } = granted.parse(bodyOf(await asb.call('requestGrant', REQUEST, { bearer })));
    const [[id, { body }] = ['', { body: null }]] = users;
    expect(body).toMatchObject({ cache: 'orders', rights: ['read'] });
    const opened = bodyOf(await asb.call('unwrapArtifact', { artifact_id: delivery.artifact_id }, { bearer }));
    expect(opened).toMatchObject({
      fields: [
        { name: 'username', value: `u-${id}` },
        { name: 'password', value: `CANARY-${id}` },
      ],
    });
    const again = await asb.call('unwrapArtifact', { artifact_id: delivery.artifact_id }, { bearer });
    expect(again).toMatchObject({ ok: false, code: 'conflict' });
    bodyOf(await asb.call('revokeGrant', { grant_id }, { bearer }));
    await expect
      .poll(() => {
        asb.clock.advance(1);
        return users.size;
      })
      .toBe(0);
    expect([...asb.logged, JSON.stringify(asb.audit.events)].join()).not.toContain('CANARY');
  });

  test('checks its own refs', async () => {
    const refused = await asb.call(
      'requestGrant',
      { ...REQUEST, resource_ref: 'dbrole:orders' },
      { bearer: await aSession() },
    );
    expect(refused).toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(/^resource_ref: write dbrole:cache-/),
    });
  });

  test.each([
    [403, 'forbidden'],
    [500, 'upstream_error'],
  ])('passes a %d on as %s', async (failure, code) => {
    status = failure;
    const refused = await asb.call('requestGrant', REQUEST, { bearer: await aSession() });
    status = 200;
    expect(refused).toMatchObject({ ok: false, code });
  });

  test('is less than a hundred lines, and knows the domain alone', async () => {
    const source = await readFile(new URL('cache-connector.ts', import.meta.url), 'utf8');
    expect(source.trimEnd().split('\n').length).toBeLessThan(100);
    const imports = [...source.matchAll(/from '([^']+)'/g)].map(([, name]) => name);
    expect(imports.filter((name) => !/^zod$|\/src\/domain\//.test(name ?? ''))).toEqual([]);
  });
});
