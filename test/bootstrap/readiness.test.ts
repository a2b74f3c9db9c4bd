import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JsonLinesAuditLog } from '../../src/audit/json-lines-audit-log.ts';
import { type Api, makeApi } from '../../src/bootstrap/api.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { ISSUER, rsaKey } from '../support/attestations.ts';
import { ScriptedDescriptor, systemError } from '../support/scripted-descriptor.ts';

let folder: string;
let disk: ScriptedDescriptor;
let api: Api;
let url: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asb-readiness-'));
  writeFileSync(join(folder, 'cluster.pem'), rsaKey.publicPem);
  disk = new ScriptedDescriptor();
  const configuration = await readConfiguration({
    ASB_ADDR: '127.0.0.1:0',
    ASB_K8S_ISSUER: ISSUER,
    ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'cluster.pem'),
    ASB_LOG_LEVEL: 'silent',
    ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  });
  api = await makeApi(configuration, { auditLog: new JsonLinesAuditLog({ descriptor: disk }) });
  const [address = ''] = await api.start();
  url = `http://${address}`;
});
afterEach(async () => {
  await api.stop();
  rmSync(folder, { recursive: true });
});

const ready = async () => {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, body: await response.json() };
};

/** A call that is refused, and whose refusal goes on record. */
const aRefusal = () =>
  fetch(`${url}/v1/grants/gr_1:revoke`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer x.y.z' },
    body: '{}',
  });

const WELL = { repository: 'ok', runtime: 'ok', audit_log: 'ok' };

test('a full disk makes the process not ready from the first event it loses, until there is room again', async () => {
  expect(await ready()).toEqual({ status: 200, body: { status: 'ready', checks: WELL } });
  disk.always = systemError('ENOSPC');
  expect((await aRefusal()).status).toBe(503);
  const notReady = { status: 503, body: { status: 'not_ready', checks: { ...WELL, audit_log: 'unavailable' } } };
  expect(await ready()).toEqual(notReady);
  expect(await ready()).toEqual(notReady);
  disk.always = null;
  expect(await ready()).toMatchObject({ status: 200, body: { checks: WELL } });
  expect((await aRefusal()).status).toBe(401);
});
