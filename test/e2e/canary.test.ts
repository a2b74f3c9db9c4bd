import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failure, raw, redirect, secondaryRateLimit, validationFailed } from '../../dev/github/answers.ts';
import { type Asb, CANARY_TOKEN, GRANT_REQUEST, sessionRequest, startAsb } from '../support/asb.ts';

let asb: Asb;
beforeAll(async () => {
  asb = await startAsb({ ASB_PROXY_MAX_REQUESTS: '12' });
});
afterAll(() => asb.close());

/** Every form in which a secret might slip out. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    encodeURIComponent(secret),
    [...secret].reverse().join(''),
  ];
}

test('the GitHub token occurs in no answer, log line, error, metric or event', async () => {
  const answers: unknown[] = [];
  const use = async (handle: string, operation: string, params = {}) => {
    for (const client of asb.clients) {
      answers.push(await client.call('executeGitHubProxy', { proxy_handle: handle, operation, params }));
    }
  };
  const { session_id, session_token } = await asb.openSession();
  const handle = async () => {
    const grant = await asb.requestGrant(session_token);
    answers.push(grant);
    return grant.delivery.handle;
  };

  const reading = await handle();
  await use(reading, 'pull_request_metadata', { pull_number: 10 });
  await use(reading, 'pull_request_metadata', { pull_number: 999 });
  await use(reading, 'no_such_operation');
  await use(reading, 'repository_metadata');
  const exhausted = answers.at(-1);
  expect(exhausted).toMatchObject({ ok: false, code: 'resource_budget_exceeded' });

  const failing = await handle();
  const faults = [
    failure(500, 'oops'),
    failure(401, 'Bad credentials'),
    failure(403, 'Forbidden'),
    secondaryRateLimit(429, '60'),
    validationFailed(),
    redirect(302, 'https://evil.example/steal'),
    redirect(302, `${asb.github.url.replace('127.0.0.1', 'localhost')}/repos/acme/widgets`),
    raw(200, 'not json at all', { 'content-type': 'text/html' }),
  ];
  for (const fault of faults) {
    asb.github.answerNext(fault);
    answers.push(await asb.call('executeGitHubProxy', { proxy_handle: failing, operation: 'repository_metadata' }));
  }

  answers.push(await asb.call('createSession', await sessionRequest(asb.attestation, { tenant_id: 't_other' })));
  answers.push(await asb.call('revokeSession', { session_id }, { bearer: session_token }));
  answers.push(await asb.call('requestGrant', GRANT_REQUEST, { bearer: session_token }));
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/.well-known/jwks.json', '/nowhere']) {
    const answer = await asb.raw.send({ method: 'GET', path });
    answers.push(answer.headers, answer.body.toString());
  }

  // The token was used, so it could have leaked.
  expect(asb.github.requests.filter(({ authorization }) => authorization?.endsWith(CANARY_TOKEN)).length).toBeGreaterThan(
    10,
  );
  const everything = [
    inspect(answers, { depth: null, maxStringLength: null, maxArrayLength: null }),
    JSON.stringify(answers),
    ...asb.logged,
    inspect(asb.audit.events, { depth: null, maxStringLength: null, maxArrayLength: null }),
  ].join('\n');
  for (const spelling of spellings(CANARY_TOKEN)) expect(everything).not.toContain(spelling);
});

test('tokens and handles occur in no log line, metric or event', async () => {
  const { session_token } = await asb.openSession();
  const { token: attestation } = await asb.attestation();
  const { delivery } = await asb.requestGrant(session_token);
  await asb.call('executeGitHubProxy', { proxy_handle: delivery.handle, operation: 'repository_metadata' });
  await asb.call('executeGitHubProxy', { proxy_handle: `${delivery.handle}x`, operation: 'repository_metadata' });
  await asb.call('requestGrant', GRANT_REQUEST, { bearer: `${session_token}x` });
  await asb.call('revokeGrant', { grant_id: delivery.handle }, { bearer: session_token });
  const metrics = await asb.raw.send({ method: 'GET', path: '/metrics' });
  const kept = [
    metrics.body.toString(),
    ...asb.logged,
    inspect(asb.audit.events, { depth: null, maxStringLength: null, maxArrayLength: null }),
  ].join('\n');
  for (const secret of [session_token, attestation]) {
    for (const part of secret.split('.').slice(1)) expect(kept).not.toContain(part);
  }
  expect(kept).not.toContain(delivery.handle.slice(3));
});
