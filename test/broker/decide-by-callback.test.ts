import { createHmac, sign as signBytes } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, UnsecuredJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { makeOperatorTokens } from '../../src/authn/operator-tokens.ts';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { decideByCallback, type DecideByCallbackDeps } from '../../src/broker/decide-by-callback.ts';
import { unavailable } from '../../src/domain/errors.ts';
import type { ApprovalId } from '../../src/domain/ids.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { makeCallbackVerifier } from '../../src/notify/callbacks.ts';
import { LINK_AUDIENCE } from '../../src/notify/link-token.ts';
import { makeLinkSigner } from '../../src/notify/links.ts';
import {
  type Asked,
  aSlack,
  aWebhook,
  BASE_URL,
  CONTEXT,
  ISSUER,
  linkTokens,
  makeCallbackKey,
  makeWorld,
  noticeOf,
  signCallback,
  tokenOf,
  type World,
} from '../notify/setup.ts';
import { encodePart } from '../support/attestations.ts';
import { anApprovalId, OTHER_TENANT, TENANT } from '../support/entities.ts';

const hookKey = makeCallbackKey();
const otherKey = makeCallbackKey();

let world: World;
let asked: Asked;
let deps: DecideByCallbackDeps;

beforeEach(async () => {
  world = await makeWorld(
    aWebhook({ callbackKey: hookKey.publicKey }),
    aWebhook({ name: 'second', callbackKey: otherKey.publicKey, approver: 'ana' }),
    aWebhook({ name: 'elsewhere', callbackKey: otherKey.publicKey, tenants: [OTHER_TENANT] }),
    aSlack(),
    aSlack({ name: 'quiet', links: false }),
  );
  const { configured, keys, clock } = world;
  const callbacks = makeCallbackVerifier({ receivers: () => configured.receivers, keys, issuer: ISSUER, clock });
  deps = { ...world.deps, callbacks, runtime: world.runtime };
  asked = await world.ask();
});

const decide = (assertion: string, { approvalId = asked.approval.id, comment = '' } = {}) =>
  decideByCallback(deps)({ approvalId, assertion, comment }, CONTEXT);

const sign = (changes: Partial<Parameters<typeof signCallback>[1]> = {}) =>
  signCallback(asked, { key: hookKey.privateKey, now: world.clock.now(), ...changes });

const approvalNow = async () => (await world.repository.findApproval(TENANT, asked.approval.id))!;
const grantNow = async () => (await world.repository.findGrant(TENANT, asked.grant.id))!;

async function expectUndecided() {
  expect(await approvalNow()).toMatchObject({ state: 'pending', decisions: [] });
  expect((await grantNow()).state).toBe('pending');
  expect(world.audit.types()).not.toContain('artifact.issued');
}

describe('a link', () => {
  test('that approves issues the grant, in the name of its receiver', async () => {
    const { approve } = await linkTokens(world, asked);
    expect(await decide(approve, { comment: 'fine' })).toMatchObject({ state: 'issued', approvalId: asked.approval.id });
    expect((await approvalNow()).decisions).toMatchObject([
      { approver: { issuer: 'callback:hook', subject: 'callback:hook' }, decision: 'approve', comment: 'fine' },
    ]);
    expect(world.audit.types()).toEqual(['approval.approved', 'grant.approved', 'artifact.issued', 'grant.issued']);
  });

  test('that denies ends the grant, and the comment reaches the agent', async () => {
    const { deny } = await linkTokens(world, asked);
    expect(await decide(deny, { comment: 'not now' })).toMatchObject({ state: 'denied' });
    expect(await grantNow()).toMatchObject({ state: 'denied', endReason: 'not now' });
  });

  test('still works where a slack receiver got it', async () => {
    const { approve } = await linkTokens(world, asked, 'slack');
    expect(await decide(approve)).toMatchObject({ state: 'issued' });
  });
});

test('what a receiver signs itself decides, with its comment, in the name of its person', async () => {
  const claims = { iss: 'second', decision: 'deny', comment: 'no tickets' };
  await decide(await sign({ key: otherKey.privateKey, claims }));
  expect((await approvalNow()).decisions).toMatchObject([
    { approver: { issuer: 'callback:second', subject: 'ana' }, decision: 'deny', comment: 'no tickets' },
  ]);
});

/** Changes one character of a part of a token. */
function altered(token: string, part: number): string {
  const parts = token.split('.');
  const [text = ''] = parts.slice(part, part + 1);
  const at = Math.floor(text.length / 2);
  parts[part] = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
  return parts.join('.');
}

/** A token's claims with changes, under its old signature. */
function reworded(token: string, changes: Record<string, unknown>): string {
  const [header, , signature] = token.split('.');
  return [header, encodePart({ ...decodeJwt(token), ...changes }), signature].join('.');
}

/** The classic: the public key as the secret of an HMAC. */
function hmacWith(secret: string | Buffer, token: string): string {
  const head = `${encodePart({ ...decodeProtectedHeader(token), alg: 'HS256' })}.${token.split('.')[1]}`;
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
}

const sessionToken = () =>
  makeSessionTokens({ keys: world.keys, issuer: ISSUER, clock: world.clock }).sign({
    ...asked.session,
    sessionId: asked.session.id,
    issuedAt: world.clock.now(),
  });

async function linkOfStranger(): Promise<string> {
  const links = makeLinkSigner({ keys: await ephemeralKeyRing(), issuer: ISSUER, publicBaseUrl: BASE_URL });
  return tokenOf((await links(noticeOf(asked, 'hook')))!.approve);
}

async function linkOfOtherIssuer(): Promise<string> {
  const links = makeLinkSigner({ keys: world.keys, issuer: 'https://other.example', publicBaseUrl: BASE_URL });
  return tokenOf((await links(noticeOf(asked, 'hook')))!.approve);
}

async function unsecured(token: string): Promise<string> {
  return new UnsecuredJWT(decodeJwt(token)).encode();
}

/** `alg: none` with the right type, and some signature so that it has three parts. */
const withoutAlgorithm = (token: string): string =>
  [encodePart({ ...decodeProtectedHeader(token), alg: 'none' }), token.split('.')[1], token.split('.')[2]].join('.');

/** A callback with header members that jose would not sign. */
async function resigned(members: Record<string, unknown>): Promise<string> {
  const [header = '', payload = ''] = (await sign()).split('.');
  const head = `${encodePart({ ...(JSON.parse(Buffer.from(header, 'base64url').toString()) as object), ...members })}.${payload}`;
  return `${head}.${signBytes(null, Buffer.from(head), hookKey.privateKey).toString('base64url')}`;
}

const link = async () => (await linkTokens(world, asked)).approve;
const seconds = (offset: number): number => Math.floor(world.clock.now().getTime() / 1000) + offset;

describe('attacks are refused, decide nothing and are on record', () => {
  type Attack = readonly [name: string, attempt: () => Promise<string>, code: string];
  const attacks: readonly Attack[] = [
    ['nothing', async () => '', 'unauthorized'],
    ['no token', async () => 'approve', 'unauthorized'],
    ['a very long one', async () => `${'a'.repeat(9000)}.b.c`, 'unauthorized'],
    ['a header that is no JSON', async () => 'YWJj.YWJj.YWJj', 'unauthorized'],
    [
      'a link with another decision written in',
      async () => reworded((await linkTokens(world, asked)).deny, { decision: 'approve' }),
      'unauthorized',
    ],
    ['a link with a changed header', async () => altered(await link(), 0), 'unauthorized'],
    ['a link with changed claims', async () => altered(await link(), 1), 'unauthorized'],
    ['a link with a changed signature', async () => altered(await link(), 2), 'unauthorized'],
    ['a link with another end written in', async () => reworded(await link(), { exp: seconds(9999) }), 'unauthorized'],
    ['a link without a signature', async () => unsecured(await link()), 'unauthorized'],
    ['a link with alg none', async () => withoutAlgorithm(await link()), 'unauthorized'],
    [
      'a link with HS256 and the public key',
      async () => hmacWith(JSON.stringify(world.keys.publicKeys().keys[0]), await link()),
      'unauthorized',
    ],
    ['a link signed by another broker', linkOfStranger, 'unauthorized'],
    ['a link of another issuer with our key', linkOfOtherIssuer, 'unauthorized'],
    [
      'a link whose time is up',
      async () => {
        const token = await link();
        world.clock.advance(300);
        return token;
      },
      'unauthorized',
    ],
    [
      'a link of a receiver that was removed',
      async () => {
        const token = await link();
        world.configured.receivers = [];
        return token;
      },
      'unauthorized',
    ],
    [
      'a link of a receiver that lost the tenant',
      async () => {
        const token = await link();
        world.configured.receivers = [aWebhook({ tenants: [OTHER_TENANT] })];
        return token;
      },
      'unauthorized',
    ],
    [
      'a link of a receiver whose links were switched off',
      async () => (await linkTokens(world, asked, 'quiet')).approve,
      'unauthorized',
    ],
    [
      'a link for a request with another hash',
      async () => {
        const approval = { ...asked.approval, requestHash: 'cd'.repeat(32) };
        return (await linkTokens(world, { ...asked, approval })).approve;
      },
      'unauthorized',
    ],
    [
      'a link into another tenant',
      async () => {
        const approval = { ...asked.approval, tenantId: OTHER_TENANT };
        return (await linkTokens(world, { ...asked, approval }, 'elsewhere')).approve;
      },
      'not_found',
    ],
    ['a session token', sessionToken, 'unauthorized'],
    [
      'a session token that calls itself a link',
      async () => {
        const [, payload, signature] = (await sessionToken()).split('.');
        return [(await link()).split('.')[0], payload, signature].join('.');
      },
      'unauthorized',
    ],
    ['a callback with the key of another receiver', () => sign({ key: otherKey.privateKey }), 'unauthorized'],
    ['a callback in the name of another receiver', () => sign({ claims: { iss: 'second' } }), 'unauthorized'],
    ['a callback of nobody', () => sign({ claims: { iss: 'nobody' } }), 'unauthorized'],
    ['a callback without an issuer', () => sign({ claims: { iss: undefined } }), 'unauthorized'],
    ['a callback of a receiver that signs none', () => sign({ claims: { iss: 'slack' } }), 'unauthorized'],
    [
      'a callback of a receiver of another tenant',
      () => sign({ key: otherKey.privateKey, claims: { iss: 'elsewhere' } }),
      'not_found',
    ],
    [
      'a callback of a receiver that was removed',
      async () => {
        const token = await sign();
        world.configured.receivers = [];
        return token;
      },
      'unauthorized',
    ],
    [
      'a callback of a receiver with a new key',
      async () => {
        const token = await sign();
        world.configured.receivers = [aWebhook({ callbackKey: otherKey.publicKey })];
        return token;
      },
      'unauthorized',
    ],
    ['a callback for another broker', () => sign({ claims: { aud: 'https://other.example' } }), 'unauthorized'],
    ['a callback for the audience of links', () => sign({ claims: { aud: LINK_AUDIENCE } }), 'unauthorized'],
    ['a callback with altered claims', async () => altered(await sign(), 1), 'unauthorized'],
    ['a callback with altered signature', async () => altered(await sign(), 2), 'unauthorized'],
    ['a callback with alg none', async () => withoutAlgorithm(await sign()), 'unauthorized'],
    ['a callback with HS256 and the public key', async () => hmacWith(hookKey.publicPem, await sign()), 'unauthorized'],
    ['a callback of another type', () => sign({ header: { typ: 'JWT' } }), 'unauthorized'],
    ['a callback without a type', () => sign({ header: { typ: undefined } }), 'unauthorized'],
    ['a callback that calls itself a link', () => sign({ header: { typ: 'asb-approval-link+jwt' } }), 'unauthorized'],
    ['a callback with a critical header', () => resigned({ crit: ['only_on'], only_on: 'tuesdays' }), 'unauthorized'],
    [
      'a callback that is late',
      async () => {
        const token = await sign();
        world.clock.advance(60);
        return token;
      },
      'unauthorized',
    ],
    ['a callback from the future', () => sign({ claims: { iat: seconds(31), exp: seconds(60) } }), 'unauthorized'],
    ['a callback that is not valid yet', () => sign({ claims: { nbf: seconds(31) } }), 'unauthorized'],
    ['a callback that lives too long', () => sign({ claims: { exp: seconds(601) } }), 'unauthorized'],
    [
      'a callback made long ago that lives too long',
      () => sign({ claims: { iat: seconds(-500), exp: seconds(200) } }),
      'unauthorized',
    ],
    ['a callback without an end', () => sign({ claims: { exp: undefined } }), 'unauthorized'],
    ['a callback without iat', () => sign({ claims: { iat: undefined } }), 'unauthorized'],
    ['a callback without an id', () => sign({ claims: { jti: undefined } }), 'unauthorized'],
    ['a callback with a claim that is not known', () => sign({ claims: { only_on: 'tuesdays' } }), 'unauthorized'],
    ['a callback with a subject', () => sign({ claims: { sub: 'ana' } }), 'unauthorized'],
    ['a callback with another decision', () => sign({ claims: { decision: 'maybe' } }), 'unauthorized'],
    ['a callback for another request', () => sign({ claims: { request_hash: 'cd'.repeat(32) } }), 'unauthorized'],
    ['a callback for another approval', () => sign({ claims: { approval_id: anApprovalId() } }), 'unauthorized'],
    ['a callback with control characters in its comment', () => sign({ claims: { comment: 'a\u0000b' } }), 'unauthorized'],
    ['a callback with half a surrogate pair in its comment', () => sign({ claims: { comment: 'a\ud800' } }), 'unauthorized'],
  ];
  test.each(attacks)('%s', async (_name, attempt, code) => {
    const assertion = await attempt();
    await expect(decide(assertion)).rejects.toMatchObject({ code });
    await expectUndecided();
    const refusals = world.audit.events.filter(({ type }) => type === 'approval.refused');
    expect(refusals).toMatchObject([{ code, details: { approval_id: asked.approval.id } }]);
    expect(JSON.stringify(world.audit.events)).not.toContain(assertion === '' ? 'eyJ' : assertion);
  });

  test('a good one is not refused by any of this', async () => {
    expect(await decide(await resigned({ kid: 'any' }))).toMatchObject({ state: 'issued' });
  });

  test('a good one in the path of another approval', async () => {
    const other = await world.ask();
    await expect(decide(await sign(), { approvalId: other.approval.id })).rejects.toMatchObject({ code: 'unauthorized' });
    await expect(decide(await link(), { approvalId: other.approval.id })).rejects.toMatchObject({ code: 'unauthorized' });
    await expectUndecided();
  });

  test('an approval that does not exist', async () => {
    const approvalId = anApprovalId();
    const approval = { ...asked.approval, id: approvalId };
    const token = (await linkTokens(world, { ...asked, approval })).approve;
    await expect(decide(token, { approvalId })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('an unsigned comment beside a signed callback', async () => {
    await expect(decide(await sign(), { comment: 'you are fired' })).rejects.toMatchObject({ code: 'invalid_request' });
    await expectUndecided();
  });

  test('messages tell a stranger nothing of who is configured', async () => {
    const messages = await Promise.all(
      [sign({ claims: { iss: 'nobody' } }), sign({ key: otherKey.privateKey }), sign({ claims: { iss: 'slack' } })].map(
        async (token) => decide(await token).catch((error: unknown) => (error as Error).message),
      ),
    );
    expect(new Set(messages).size).toBe(1);
  });
});

describe('each word counts once', () => {
  test.each(['link', 'callback'])('a %s that has decided is a conflict when it comes again', async (kind) => {
    const token = kind === 'link' ? await link() : await sign();
    await decide(token);
    const events = world.audit.events.length;
    await expect(decide(token)).rejects.toMatchObject({ code: 'conflict' });
    expect(world.audit.types().slice(events)).toEqual(['approval.refused']);
    expect((await approvalNow()).decisions).toHaveLength(1);
  });

  test.each(['link', 'callback'])('of ten times the same %s at once one decides', async (kind) => {
    const token = kind === 'link' ? await link() : await sign();
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => decide(token)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(world.audit.types().filter((type) => type === 'artifact.issued')).toHaveLength(1);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toMatchObject(
      Array.from({ length: 9 }, () => ({ reason: { code: 'conflict' } })),
    );
  });

  test.each([
    ['approve', 'deny'],
    ['deny', 'approve'],
  ] as const)('after %s the %s of the pair is a conflict', async (first, second) => {
    const tokens = await linkTokens(world, asked);
    await decide(tokens[first]);
    const decided = await approvalNow();
    await expect(decide(tokens[second])).rejects.toMatchObject({ code: 'conflict' });
    expect(await approvalNow()).toEqual(decided);
  });

  test('of both links of a pair at once one decides', async () => {
    const { approve, deny } = await linkTokens(world, asked);
    const outcomes = await Promise.allSettled([decide(approve), decide(deny)]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await approvalNow()).decisions).toHaveLength(1);
  });

  test('a jti stands for one decision', async () => {
    const first = await world.ask({ approval: { requiredApprovers: 2 } });
    const of = (decision: string) => {
      const claims = { iss: 'second', decision, jti: 'the-only-one' };
      return signCallback(first, { key: otherKey.privateKey, now: world.clock.now(), claims });
    };
    const approvalId = first.approval.id;
    await decide(await of('approve'), { approvalId });
    await expect(decide(await of('deny'), { approvalId })).rejects.toMatchObject({ code: 'conflict' });
    expect(await world.repository.findApproval(TENANT, approvalId)).toMatchObject({ state: 'pending' });
  });

  test('the same jti of two receivers is two', async () => {
    await decide(await sign({ claims: { jti: 'callback-same' } }));
    const next = await world.ask();
    const claims = { jti: 'callback-same', iss: 'second' };
    const token = await signCallback(next, { key: otherKey.privateKey, now: world.clock.now(), claims });
    expect(await decide(token, { approvalId: next.approval.id })).toMatchObject({ state: 'issued' });
  });

  test.each(['link', 'callback'])('a %s that failed for a reason that passes may come again', async (kind) => {
    const token = kind === 'link' ? await link() : await sign();
    const { runtime } = deps;
    deps = { ...deps, runtime: Object.assign(Object.create(runtime), { claim: () => Promise.reject(unavailable('away')) }) };
    await expect(decide(token)).rejects.toMatchObject({ code: 'unavailable' });
    deps = { ...deps, runtime };
    world.audit.failNext();
    await expect(decide(token)).rejects.toMatchObject({ code: 'unavailable' });
    await expectUndecided();
    expect(await decide(token)).toMatchObject({ state: 'issued' });
  });

  test('even when the marks of what was used are lost, since the approval knows', async () => {
    const token = await link();
    await decide(token);
    await world.runtime.forgetExpired(new Date(world.clock.now().getTime() + 1_000_000));
    await expect(decide(token)).rejects.toMatchObject({ code: 'conflict' });
  });
});

describe('who decides', () => {
  async function askForTwo() {
    asked = await world.ask({ approval: { requiredApprovers: 2 } });
  }

  /** Says in the configuration whom the receiver `hook` speaks for. */
  function nameHook(approver: string | null) {
    const [, ...others] = world.configured.receivers;
    world.configured.receivers = [aWebhook({ callbackKey: hookKey.publicKey, approver }), ...others];
  }

  test('one receiver is one person, however often it says yes', async () => {
    nameHook('olga');
    await askForTwo();
    expect(await decide(await link())).toMatchObject({ state: 'pending' });
    await expect(decide(await sign())).rejects.toMatchObject({ code: 'conflict' });
    expect(await approvalNow()).toMatchObject({ state: 'pending' });
    const { approve } = await linkTokens(world, asked, 'second');
    expect(await decide(approve)).toMatchObject({ state: 'issued' });
  });

  test('two receivers that reach the same person are one', async () => {
    world.configured.receivers = [aWebhook({ approver: 'ana' }), aWebhook({ name: 'second', approver: 'ana' })];
    await askForTwo();
    await decide(await link());
    const { approve } = await linkTokens(world, asked, 'second');
    await expect(decide(approve)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('nobody decides for a run of their own', async () => {
    asked = await world.ask({ approval: { excluded: [{ issuer: 'https://login.example', subject: 'ana' }] } });
    const { approve } = await linkTokens(world, asked, 'second');
    await expect(decide(approve)).rejects.toMatchObject({ code: 'forbidden', reason: 'self_approval' });
    await expectUndecided();
  });

  const workload = { issuer: 'https://kubernetes.default.svc', subject: 'system:serviceaccount:agents:reviewer' };
  const delegator = { issuer: 'https://delegation.acme.example', subject: 'dora' };
  const careful = [
    ['two must say yes', { requiredApprovers: 2 }],
    ['somebody delegated', { excluded: [workload, delegator] }],
    ['two must say yes and somebody delegated', { requiredApprovers: 2, excluded: [workload, delegator] }],
  ] as const;
  const kinds = ['link', 'callback'] as const;
  const wordOf = async (kind: (typeof kinds)[number], decision: 'approve' | 'deny') =>
    kind === 'link' ? (await linkTokens(world, asked))[decision] : sign({ claims: { decision } });
  const cases = careful.flatMap(([when, approval]) => kinds.map((kind) => ({ when, approval, kind })));

  test.each(cases)(
    'a receiver without a named approver may not approve by $kind where $when',
    async ({ approval, kind }) => {
      asked = await world.ask({ approval });
      const token = await wordOf(kind, 'approve');
      const refusal = { code: 'forbidden', reason: 'approver_not_named' };
      await expect(decide(token)).rejects.toMatchObject({ ...refusal, rule: 'receiver' });
      await expectUndecided();
      const { id: approvalId } = asked.approval;
      const [event, ...more] = world.audit.events.filter(({ type }) => type === 'approval.refused');
      expect(more).toEqual([]);
      expect(event).toMatchObject({ ...refusal, subject: { approvalId }, details: { rule: 'receiver' } });
      // The word is not used up: the same one counts once its approver is named.
      nameHook('olga');
      const state = asked.approval.requiredApprovers === 1 ? 'issued' : 'pending';
      expect(await decide(token)).toMatchObject({ state });
      expect((await approvalNow()).decisions).toMatchObject([{ approver: { issuer: 'callback:hook', subject: 'olga' } }]);
    },
  );

  test.each(cases)('a receiver without a named approver may deny by $kind where $when', async ({ approval, kind }) => {
    asked = await world.ask({ approval });
    expect(await decide(await wordOf(kind, 'deny'))).toMatchObject({ state: 'denied' });
    expect((await approvalNow()).decisions).toMatchObject([
      { approver: { issuer: 'callback:hook', subject: 'callback:hook' }, decision: 'deny' },
    ]);
  });

  test.each(kinds)('it may approve by %s where one yes is enough and nobody delegated', async (kind) => {
    expect(asked.approval).toMatchObject({ requiredApprovers: 1, excluded: [workload] });
    expect(await decide(await wordOf(kind, 'approve'))).toMatchObject({ state: 'issued' });
  });

  test.each([
    ['another person', 'pete', 'conflict'],
    ['nobody', null, 'forbidden'],
    ['the person of another receiver', 'ana', 'conflict'],
  ])('a receiver says yes once, even when it speaks for %s by then', async (_who, approver, code) => {
    nameHook('olga');
    await askForTwo();
    await decide(await link());
    nameHook(approver);
    await expect(decide(await sign())).rejects.toMatchObject({ code });
    expect(await approvalNow()).toMatchObject({ state: 'pending', decisions: [{ approver: { subject: 'olga' } }] });
    expect((await grantNow()).state).toBe('pending');
  });

  test('a receiver that said yes may still deny, whoever it speaks for by then', async () => {
    nameHook('olga');
    await askForTwo();
    await decide(await link());
    nameHook('pete');
    expect(await decide(await sign({ claims: { decision: 'deny' } }))).toMatchObject({ state: 'denied' });
  });

  test('who said yes by one receiver says it by no other that speaks for them later', async () => {
    nameHook('olga');
    await askForTwo();
    await decide(await link());
    world.configured.receivers = [aWebhook({ name: 'second', callbackKey: otherKey.publicKey, approver: 'olga' })];
    const { approve } = await linkTokens(world, asked, 'second');
    await expect(decide(approve)).rejects.toMatchObject({ code: 'conflict' });
  });
});

describe('a token of ours is worth nothing where another kind is asked for', () => {
  test('a link is no session token', async () => {
    const tokens = makeSessionTokens({ keys: world.keys, issuer: ISSUER, clock: world.clock });
    await expect(tokens.verify(await link())).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('a link is no operator token, even where our own key and issuer are trusted for those', async () => {
    const { keys: ring } = world;
    const { kid } = ring.signingKey;
    const key = { alg: 'EdDSA' as const, kid, publicKey: ring.verificationKey(kid)! };
    const keys = { find: () => Promise.resolve([key]) };
    const roleMappings = [{ claimValue: 'hook', roles: ['approver' as const], tenants: [TENANT] }];
    const issuer = { issuer: ISSUER, audience: LINK_AUDIENCE, keys, rolesClaim: 'receiver', roleMappings };
    const operators = makeOperatorTokens({ issuers: [issuer], tenants: [TENANT], clock: world.clock });
    await expect(operators.verify(await link())).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

test('an id that is no approval id answers as one that is not there', async () => {
  const approvalId = 'ap_nothing' as ApprovalId;
  await expect(decide(await link(), { approvalId })).rejects.toMatchObject({ code: 'unauthorized' });
});
