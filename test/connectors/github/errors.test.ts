import { describe, expect, it } from 'vitest';
import {
  badGateway,
  cutOff,
  failure,
  primaryRateLimit,
  raw,
  type ScriptedAnswer,
  secondaryRateLimit,
  validationFailed,
} from '../../../dev/github/answers.ts';
import { staticTokenSource } from '../../../src/connectors/github/token-source.ts';
import { parseResourceRef } from '../../../src/domain/resource.ts';
import { Secret } from '../../../src/domain/secret.ts';
import { CANARY, connectorFor, refusalOf, unlimited, useStandIn, WIDGETS } from './setup.ts';

const world = useStandIn();
/** What the fake clock shows, in epoch seconds. */
const NOW = Date.parse('2026-01-02T03:04:05.000Z') / 1000;
const UPSTREAM_WORDS = 'upstream words that nobody should see';

describe('GitHub refuses', () => {
  it.each<[string, ScriptedAnswer, string]>([
    ['400', failure(400, UPSTREAM_WORDS), 'invalid_request'],
    ['401', failure(401, UPSTREAM_WORDS), 'upstream_error'],
    ['403', failure(403, UPSTREAM_WORDS), 'forbidden'],
    ['403 with calls left', failure(403, UPSTREAM_WORDS, { 'x-ratelimit-remaining': '12' }), 'forbidden'],
    ['404', failure(404, UPSTREAM_WORDS), 'not_found'],
    ['404 with no calls left', failure(404, UPSTREAM_WORDS, { 'x-ratelimit-remaining': '0' }), 'not_found'],
    ['406', failure(406, UPSTREAM_WORDS), 'upstream_error'],
    ['410', failure(410, UPSTREAM_WORDS), 'not_found'],
    ['422', validationFailed(), 'invalid_request'],
    ['451', failure(451, UPSTREAM_WORDS), 'forbidden'],
    ['500', failure(500, UPSTREAM_WORDS), 'upstream_error'],
    ['502 in HTML', badGateway(), 'upstream_error'],
    ['503', failure(503, UPSTREAM_WORDS), 'upstream_error'],
    ['404 cut off', cutOff(404), 'not_found'],
    ['500 cut off', cutOff(500), 'upstream_error'],
    ['500 that quotes the token', failure(500, `Bearer ${CANARY}`, { 'x-github-request-id': CANARY }), 'upstream_error'],
    ['403 that quotes the token', failure(403, `Bearer ${CANARY}`, { 'x-github-media-type': CANARY }), 'forbidden'],
    ['204', raw(204, '', {}), 'upstream_error'],
    ['304', raw(304, '', {}), 'upstream_error'],
    ['303', raw(303, '', { location: '/repos/acme/widgets' }), 'upstream_error'],
  ])('with %s', async (_name, answer, code) => {
    world().standIn.answerNext(answer);
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect(error.code).toBe(code);
    expect(`${error.message} ${String(error.cause)}`).not.toContain(UPSTREAM_WORDS);
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('a token it does not know, and the caller is not blamed', async () => {
    const tokens = staticTokenSource(new Secret('ghp_expired'));
    const connector = connectorFor(world().standIn.url, { tokens });
    const call = connector.prepare({
      capability: 'repo.read',
      resource: WIDGETS,
      operation: 'repository_metadata',
      params: {},
    });
    const error = await refusalOf(() => call.send(unlimited()));
    expect(error.code).toBe('upstream_error');
    expect(error.message).toBe("GitHub did not accept ASB's own credential; tell the operator");
  });

  it('with a reason of its own when it is a 403', async () => {
    world().standIn.answerNext(failure(403, UPSTREAM_WORDS));
    expect((await refusalOf(() => world().call('repository_metadata'))).reason).toBe('upstream_refused');
  });

  it('by naming what is not there', async () => {
    const pull = await refusalOf(() => world().call('pull_request_files', { pull_number: 999 }));
    expect(pull.message).toBe("GitHub has no such pull request, or ASB's credential may not see it");
    const resource = parseResourceRef('github:repo:acme/nothing');
    const call = connectorFor(world().standIn.url).prepare({
      capability: 'repo.read',
      resource,
      operation: 'repository_issues',
      params: {},
    });
    expect((await refusalOf(() => call.send(unlimited()))).message).toContain('no such repository');
  });
});

describe("GitHub's rate limits", () => {
  it.each<[string, ScriptedAnswer, number]>([
    ['primary, 403', primaryRateLimit(403, NOW + 1800), 1800],
    ['primary, 429', primaryRateLimit(429, NOW + 1800), 1800],
    ['primary, reset in the past', primaryRateLimit(403, NOW - 5), 1],
    ['primary, reset beyond all reason', primaryRateLimit(403, NOW + 1e9), 86_400],
    ['secondary, 403 with seconds', secondaryRateLimit(403, '17'), 17],
    ['secondary, 429 with seconds', secondaryRateLimit(429, '17'), 17],
    ['secondary, with a date', secondaryRateLimit(403, 'Fri, 02 Jan 2026 03:05:05 GMT'), 60],
    ['secondary, with a date in the past', secondaryRateLimit(403, 'Fri, 02 Jan 2026 03:00:00 GMT'), 1],
    ['secondary, with zero seconds', secondaryRateLimit(403, '0'), 1],
    ['secondary, with nonsense', secondaryRateLimit(403, 'soon'), 60],
    ['secondary, 403 known by its message alone', secondaryRateLimit(403), 60],
    ['secondary, 429 with nothing', secondaryRateLimit(429), 60],
    ['403 with retry-after and no message', raw(403, '', { 'retry-after': '5' }), 5],
    ['429 whose body breaks off', cutOff(429), 60],
  ])('%s', async (_name, answer, seconds) => {
    world().standIn.answerNext(answer);
    const error = await refusalOf(() => world().call('repository_metadata'));
    expect([error.code, error.retryAfterSeconds]).toEqual(['rate_limited', seconds]);
    expect(error.message).toBe(`GitHub's rate limit is used up; retry in ${seconds} seconds`);
  });

  it('are met once: nothing is retried', async () => {
    world().standIn.answerNext(secondaryRateLimit(429, '1'));
    await refusalOf(() =>
      world()
        .connector.prepare({ capability: 'repo.read', resource: WIDGETS, operation: 'repository_issues', params: {} })
        .send(unlimited()),
    );
    expect(world().standIn.requests).toHaveLength(1);
  });
});
