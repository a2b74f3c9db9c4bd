import { expect, it, vi } from 'vitest';
import { CALLS } from '../../src/transport/calls.ts';
import { ERROR_CODES } from '../../src/transport/errors.ts';
import { makeMetrics } from '../../src/transport/metrics.ts';
import { caseOf } from '../support/call-cases.ts';
import { startListeners } from '../support/listeners.ts';
import { connectClient, grpcClient, grpcWebClient, jsonClient, RawClient } from '../support/transports.ts';

const CANARY = 'canary-5b1e';

it('counts by transport, call and outcome, with labels out of fixed sets only', async () => {
  const listeners = await startListeners();
  const raw = new RawClient(listeners.httpUrl);
  const clients = [
    jsonClient(listeners.httpUrl),
    connectClient(listeners.httpUrl),
    grpcWebClient(listeners.httpUrl),
    grpcClient(listeners.grpcUrl),
  ];
  for (const client of clients) {
    await client.call('requestGrant', caseOf('requestGrant').request);
    await client.call('requestGrant', { ...caseOf('requestGrant').request, tool: '' });
  }
  await raw.send({ path: `/${CANARY}` });
  await raw.send({ method: 'GET', path: `/v1/grants/gr_1?${CANARY}=${CANARY}` });
  await raw.send({ method: 'GET', path: `/v1/sessions?tenant_id=${CANARY}` });
  await raw.send({ path: `/v1/grants/${CANARY}:revoke` });
  await raw.send({ path: `/v1/grants/%zz${CANARY}:revoke` });
  await raw.send({ path: `/asb.v1.BrokerService/${CANARY}`, headers: { 'content-type': CANARY } });
  await raw.postJson('/asb.v1.BrokerService/RequestGrant', { [CANARY]: CANARY });
  const { headers, body } = await raw.send({ method: 'GET', path: '/metrics' });
  const text = body.toString();
  expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const transport of ['json', 'connect', 'grpc-web', 'grpc']) {
    expect(text).toContain(`asb_requests_total{transport="${transport}",call="RequestGrant",code="ok"} 1`);
    expect(text).toMatch(
      new RegExp(`asb_requests_total{transport="${transport}",call="RequestGrant",code="invalid_request"} [12]`),
    );
    expect(text).toMatch(
      new RegExp(`asb_request_duration_seconds_count{transport="${transport}",call="RequestGrant"} [23]`),
    );
  }
  expect(text).toContain('asb_requests_total{transport="json",call="GetGrant",code="invalid_request"} 1');
  expect(text).toContain('asb_requests_total{transport="json",call="ListSessions",code="ok"} 1');
  expect(text).not.toContain(CANARY);
  const calls = new Set([...CALLS.map((call) => call.name), 'unknown']);
  for (const [, call = '', code = ''] of text.matchAll(
    /asb_requests_total{transport="[\w-]+",call="(.*?)",code="(.*?)"}/g,
  )) {
    expect(calls).toContain(call);
    expect([...ERROR_CODES, 'ok', 'canceled']).toContain(code);
  }
  expect(text).toMatch(/asb_requests_in_flight 1\n/);
  expect(text).toContain('process_resident_memory_bytes');
  raw.close();
  for (const client of clients) client.close();
  await listeners.close();
  expect((await listeners.deps.metrics.render()).body).toMatch(/asb_requests_in_flight 0\n/);
});

it('counts audit events by type, code and reason', async () => {
  const metrics = makeMetrics();
  metrics.observeAuditEvent('grant.refused', 'forbidden', 'policy_missing');
  metrics.observeAuditEvent('grant.issued', null, null);
  const { body } = await metrics.render();
  expect(body).toContain('asb_audit_events_total{type="grant.refused",code="forbidden",reason="policy_missing"} 1');
  expect(body).toContain('asb_audit_events_total{type="grant.issued",code="",reason=""} 1');
});

it('counts notifications by outcome', async () => {
  const metrics = makeMetrics();
  metrics.observeNotifications({ delivered: 0, retried: 2, givenUp: 0 });
  metrics.observeNotifications({ delivered: 1, retried: 0, givenUp: 1 });
  const { body } = await metrics.render();
  expect(body).toContain('asb_notifications_total{outcome="retried"} 2');
  expect(body).toContain('asb_notifications_total{outcome="delivered"} 1');
  expect(body).toContain('asb_notifications_total{outcome="given_up"} 1');
});

it('tells of the configuration that is in force, and of one that was rejected', async () => {
  const metrics = makeMetrics();
  const render = async () => (await metrics.render()).body;
  metrics.observeConfiguration({ ok: true, revision: 'aa11', at: new Date('2026-01-02T03:04:05.000Z') });
  expect(await render()).toMatch(/^asb_config_last_reload_successful 1$/m);
  metrics.observeConfiguration({ ok: false });
  const rejected = await render();
  expect(rejected).toMatch(/^asb_config_last_reload_successful 0$/m);
  expect(rejected).toMatch(/^asb_config_last_reload_success_timestamp_seconds 1767323045$/m);
  expect(rejected).toMatch(/^asb_config_info{revision="aa11"} 1$/m);
  expect(rejected).toContain('asb_config_reloads_total{outcome="accepted"} 1');
  expect(rejected).toContain('asb_config_reloads_total{outcome="rejected"} 1');
  metrics.observeConfiguration({ ok: true, revision: 'bb22', at: new Date('2026-01-02T04:04:05.000Z') });
  const mended = await render();
  expect(mended).toMatch(/^asb_config_last_reload_successful 1$/m);
  expect(mended).toMatch(/^asb_config_info{revision="bb22"} 1$/m);
  expect(mended).not.toContain('aa11');
});

it('two sets of metrics do not know each other', async () => {
  const [one, other] = [makeMetrics(), makeMetrics()];
  one.observeAuditEvent('grant.issued', null, null);
  expect((await other.render()).body).not.toContain('type="grant.issued"');
});

it('renders once a second, however many ask', async () => {
  const metrics = makeMetrics();
  const render = vi.spyOn(metrics, 'render');
  const listeners = await startListeners({ metrics });
  const raw = new RawClient(listeners.httpUrl);
  const ask = () => raw.send({ method: 'GET', path: '/metrics' });
  const flood = await Promise.all(Array.from({ length: 20 }, ask));
  expect(flood.map(({ status }) => status)).toEqual(Array(20).fill(200));
  listeners.clock.advance(0.999);
  await ask();
  expect(render).toHaveBeenCalledTimes(1);
  metrics.observeAuditEvent('grant.issued', null, null);
  listeners.clock.advance(0.001);
  expect((await ask()).body.toString()).toContain('type="grant.issued"');
  expect(render).toHaveBeenCalledTimes(2);
  raw.close();
  await listeners.close();
});

it('shares a rendering that is under way, and none that failed', async () => {
  const metrics = makeMetrics();
  const { contentType, body } = await metrics.render();
  let finish = (): void => {};
  const underWay = new Promise<void>((resolve) => (finish = resolve));
  const render = vi
    .spyOn(metrics, 'render')
    .mockRejectedValueOnce(new Error('no numbers'))
    .mockImplementation(() => underWay.then(() => ({ contentType, body })));
  const listeners = await startListeners({ metrics });
  const raw = new RawClient(listeners.httpUrl);
  const ask = () => raw.send({ method: 'GET', path: '/metrics' }).then(({ status }) => status);
  expect(await ask()).toBe(500);
  const asked = [ask(), ask(), ask()];
  await vi.waitUntil(() => render.mock.calls.length > 1);
  finish();
  expect(await Promise.all(asked)).toEqual([200, 200, 200]);
  expect(render).toHaveBeenCalledTimes(2);
  raw.close();
  await listeners.close();
});
