import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, startAsb } from '../support/asb.ts';
import { openIn, USE } from '../support/approvals.ts';
import { type Configured, configured, TENANTS } from '../support/configured.ts';
import type { CallResult, TransportClient } from '../support/transports.ts';

let file: Configured;
let asb: Asb;
beforeAll(async () => {
  file = configured();
  asb = await startAsb({}, { file });
});
afterAll(async () => {
  await asb.close();
  file.remove();
});

const BODY = JSON.stringify({ id: 1, full_name: 'acme/widgets', description: 'nobody-reads-this-any-more' });
const tenant_id = TENANTS.free;

interface UnderWay {
  grant_id: string;
  session_id: string;
  run_id: string;
  workload_hash: string;
  /** Of the session. */
  bearer: string;
  operator: string;
  /** Lets GitHub answer, and waits for what the caller hears. */
  finish: () => Promise<CallResult>;
}

let runs = 0;

/** A run of its own, of a pod of its own, whose call has reached GitHub and is not back yet. */
async function aCallUnderWay(client: TransportClient = asb.clients[0]): Promise<UnderWay> {
  runs += 1;
  const run_id = `under-way-${runs}`;
  const pod = { name: `pod-${runs}`, uid: `b1946ac9-2f5c-4a2b-9d55-${String(runs).padStart(12, '0')}` };
  const attestation = await asb.attestation({
    'kubernetes.io': { namespace: 'agents', pod, serviceaccount: { name: 'runner' } },
  });
  const { bearer, sessionId: session_id } = await openIn(asb, tenant_id, { run_id, attestation });
  const { grant_id, delivery } = await asb.requestGrant(bearer);
  const operator = await asb.operatorToken(['operator', 'viewer']);
  const read = await asb.call('getSession', { session_id }, { bearer: operator });
  const { session } = z.object({ session: z.object({ workload_hash: z.string() }) }).parse(bodyOf(read));

  const arrived = asb.github.nextRequest();
  let answer = (): void => undefined;
  asb.github.answerNext((_request, response) => {
    answer = () => void response.writeHead(200, { 'content-type': 'application/json' }).end(BODY);
  });
  const call = client.call('executeGitHubProxy', { proxy_handle: delivery.handle, ...USE });
  await arrived;
  const finish = () => {
    answer();
    return call;
  };
  return { grant_id, session_id, run_id, workload_hash: session.workload_hash, bearer, operator, finish };
}

/** A piece of GitHub's answer, as it is or as bytes travel in JSON. */
const OF_GITHUB = new RegExp(`nobody-reads-this|${Buffer.from(BODY).toString('base64').slice(0, 40)}`);

const outcomes = (grantId: string) =>
  asb.audit.events.filter(({ type, subject }) => type.startsWith('proxy.') && subject.grantId === grantId);

const REVOCATIONS: readonly (readonly [name: string, revoke: (call: UnderWay) => Promise<CallResult>])[] = [
  ['its grant, by the agent', ({ grant_id, bearer }) => asb.call('revokeGrant', { grant_id }, { bearer })],
  ['its grant, by an operator', ({ grant_id, operator }) => asb.call('revokeGrant', { grant_id }, { bearer: operator })],
  ['its session, by the agent', ({ session_id, bearer }) => asb.call('revokeSession', { session_id }, { bearer })],
  [
    'its session, by an operator',
    ({ session_id, operator }) => asb.call('revokeSession', { session_id }, { bearer: operator }),
  ],
  ['its run', ({ run_id, operator }) => asb.call('revokeRun', { tenant_id, run_id }, { bearer: operator })],
  [
    'its workload',
    ({ workload_hash, operator }) => asb.call('revokeWorkload', { tenant_id, workload_hash }, { bearer: operator }),
  ],
];

describe('a call that is under way', () => {
  test('is answered while nothing is revoked', async () => {
    const { grant_id, finish } = await aCallUnderWay();
    expect(JSON.stringify(bodyOf(await finish()))).toMatch(OF_GITHUB);
    expect(outcomes(grant_id).map(({ type }) => type)).toEqual(['proxy.requested', 'proxy.completed']);
  });

  test.each(REVOCATIONS)('gets nothing of what GitHub says once somebody revokes %s', async (_name, revoke) => {
    const call = await aCallUnderWay();
    expect(await revoke(call)).toMatchObject({ ok: true });
    const answer = await call.finish();
    expect(answer).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(JSON.stringify(answer)).not.toMatch(OF_GITHUB);
    expect(outcomes(call.grant_id)).toMatchObject([
      { type: 'proxy.requested' },
      { type: 'proxy.failed', code: 'unauthorized' },
    ]);
    expect(JSON.stringify(asb.audit.events)).not.toMatch(OF_GITHUB);
    expect(asb.logged.join('')).not.toMatch(OF_GITHUB);
  });

  test.each([0, 1, 2, 3, 4])('gets nothing of it over transport %i either', async (index) => {
    const call = await aCallUnderWay(asb.clients[index]);
    await asb.call('revokeGrant', { grant_id: call.grant_id }, { bearer: call.bearer });
    const answer = await call.finish();
    expect(answer).toMatchObject({ ok: false, code: 'unauthorized' });
    expect(JSON.stringify(answer)).not.toMatch(OF_GITHUB);
  });
});

describe('the kill switch', () => {
  const stopRun = ({ run_id, operator }: UnderWay) => asb.call('revokeRun', { tenant_id, run_id }, { bearer: operator });
  const stopWorkload = ({ workload_hash, operator }: UnderWay) =>
    asb.call('revokeWorkload', { tenant_id, workload_hash }, { bearer: operator });

  test.each([
    ['of a run', stopRun],
    ['of a workload', stopWorkload],
  ])('%s names a grant for as long as its call is under way, however often it is asked', async (_name, stop) => {
    const call = await aCallUnderWay();
    expect(bodyOf(await stop(call))).toMatchObject({ sessions: 1, grants: 1, still_revoking: [call.grant_id] });
    const second = bodyOf(await stop(call));
    expect(second).toEqual({ still_revoking: [call.grant_id] });
    await call.finish();
    expect(bodyOf(await stop(call))).not.toHaveProperty('still_revoking');
  });

  test.each(REVOCATIONS)('names it also when it was ended before, by whoever revoked %s', async (_name, revoke) => {
    const call = await aCallUnderWay();
    await revoke(call);
    expect(bodyOf(await stopRun(call))).toMatchObject({ still_revoking: [call.grant_id] });
    expect(bodyOf(await stopWorkload(call))).toMatchObject({ still_revoking: [call.grant_id] });
    await call.finish();
    expect(bodyOf(await stopRun(call))).not.toHaveProperty('still_revoking');
    expect(bodyOf(await stopWorkload(call))).not.toHaveProperty('still_revoking');
  });

  test('names nothing of another run, and nothing that had no call', async () => {
    const call = await aCallUnderWay();
    const other = await openIn(asb, tenant_id, { run_id: 'idle' });
    await asb.call('requestGrant', GRANT_REQUEST, { bearer: other.bearer });
    await stopRun(call);
    const idle = await asb.call('revokeRun', { tenant_id, run_id: 'idle' }, { bearer: call.operator });
    expect(bodyOf(idle)).toEqual({ sessions: 1, grants: 1 });
    await call.finish();
  });
});
