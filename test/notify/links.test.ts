import { compactVerify, decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { AgentId, RunId } from '../../src/domain/ids.ts';
import { makeLinkSigner } from '../../src/notify/links.ts';
import { CUT } from '../../src/notify/shown-text.ts';
import { anAsked, type AskChanges, ISSUER, makeWorld, noticeOf, tokenOf, type World } from './setup.ts';

const shownClaims = z.looseObject({ asked: z.record(z.string(), z.union([z.string(), z.number()])) });

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});

async function linksFor(changes: AskChanges = {}) {
  return world.links(noticeOf(anAsked(world.clock.now(), changes), 'hook'));
}

const askedIn = (link: string) => shownClaims.parse(decodeJwt(tokenOf(link))).asked;

test('a link carries a token of ours behind the # and nothing else that differs', async () => {
  const links = await linksFor();
  for (const link of [links!.approve, links!.deny]) {
    const url = new URL(link);
    expect(url.href.slice(0, url.href.indexOf('#'))).toBe('https://asb.example/broker/approval');
    const { kid } = world.keys.signingKey;
    expect(decodeProtectedHeader(tokenOf(link))).toEqual({ alg: 'EdDSA', kid, typ: 'asb-approval-link+jwt' });
    await expect(compactVerify(tokenOf(link), world.keys.verificationKey(kid)!)).resolves.toBeDefined();
  }
});

test('its claims say what is decided, by whom, until when', async () => {
  const asked = anAsked(world.clock.now());
  const links = await world.links(noticeOf(asked, 'hook'));
  const claims = decodeJwt(tokenOf(links!.approve));
  const iat = world.clock.now().getTime() / 1000;
  expect(claims).toMatchObject({
    iss: ISSUER,
    aud: 'asb-approval-link',
    iat,
    exp: iat + 300,
    approval_id: asked.approval.id,
    tenant_id: 't_acme',
    receiver: 'hook',
    request_hash: asked.approval.requestHash,
    decision: 'approve',
    asked: { agent_id: 'agent_pr_reviewer', resource_ref: 'github:repo:acme/widgets', reason: 'review pull request 7' },
  });
  const other = decodeJwt(tokenOf(links!.deny));
  expect(other).toEqual({ ...claims, decision: 'deny', jti: other.jti });
  expect(other.jti).not.toBe(claims.jti);
});

test.each([
  [true, 'yes'],
  [false, 'no'],
])('they say whether one yes answers again: %j is %s', async (reuse, shown) => {
  const links = await linksFor({ approval: { reuse } });
  expect(askedIn(links!.approve)).toMatchObject({ reuse: shown });
  expect(askedIn(links!.deny)).toMatchObject({ reuse: shown });
});

test('a second try has the same links', async () => {
  const notice = noticeOf(anAsked(world.clock.now()), 'hook');
  const links = await world.links(notice);
  world.clock.advance(60);
  expect(await world.links(notice)).toEqual(links);
});

test.each(['🚀', '"\\', 'é', '\u202e'])('a long reason of %j is cut so that Slack takes the link', async (word) => {
  const links = await linksFor({ grant: { reason: word.repeat(1000).slice(0, 1000) } });
  const { reason } = askedIn(links!.approve);
  expect(reason).toMatch(new RegExp(`.{100}${CUT.replaceAll(/[[\]]/g, '\\$&')}$`, 'u'));
  expect(links!.approve.length).toBeLessThanOrEqual(3000);
  expect(links!.approve.length).toBeGreaterThan(2500);
  expect(askedIn(links!.deny)).toEqual(askedIn(links!.approve));
});

test('a reason in plain letters fits, as long as it may be', async () => {
  const reason = 'reason '.repeat(143).slice(0, 1000);
  expect(askedIn((await linksFor({ grant: { reason } }))!.approve).reason).toBe(reason);
});

test('names are never cut: what a link cannot show whole it does not decide', async () => {
  const long = 'n'.repeat(200);
  expect(
    await linksFor({ session: { agentId: long as AgentId, runId: long as RunId }, grant: { tool: long, capability: long } }),
    'as long as names may be',
  ).not.toBeNull();
  expect(await linksFor({ grant: { resourceRef: `github:repo:acme/${'n'.repeat(1500)}` } })).toBeNull();
});

test('where nobody knows how people reach this broker there are no links', async () => {
  const links = makeLinkSigner({ keys: world.keys, issuer: ISSUER, publicBaseUrl: null });
  expect(await links(noticeOf(anAsked(world.clock.now()), 'hook'))).toBeNull();
});

test('the fragment is the whole token, whatever is in the words', async () => {
  const links = await linksFor({ grant: { reason: '#?&"/ü' } });
  expect(links!.deny).toMatch(/^[^#]+#[\w-]+\.[\w-]+\.[\w-]+$/);
});
