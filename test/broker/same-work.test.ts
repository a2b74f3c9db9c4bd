import { beforeEach, describe, expect, test } from 'vitest';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { approveGrant, denyGrant } from '../../src/broker/decide-approval.ts';
import { getGrant } from '../../src/broker/get-grant.ts';
import { getApproval, getSession } from '../../src/broker/read-records.ts';
import { revokeGrant } from '../../src/broker/revoke-grant.ts';
import { revokeSession } from '../../src/broker/revoke-session.ts';
import { BrokerError } from '../../src/domain/errors.ts';
import type { ApprovalId, GrantId, SessionId, TenantId } from '../../src/domain/ids.ts';
import { OPERATOR_ROLES, type OperatorVerifier } from '../../src/domain/operator.ts';
import type { ProofVerifier } from '../../src/domain/proof.ts';
import type { Repository } from '../../src/domain/repository.ts';
import { type Asked, CONTEXT, ISSUER, makeWorld, type World } from '../notify/setup.ts';
import { aGrantId, anApprovalId, aSessionId, OTHER_TENANT, TENANT } from '../support/entities.ts';

// Whoever measures how long an answer takes must not learn whether an id is somebody's: the same is looked up, in the same order.

const SECOND_TENANT = 't_second' as TenantId;
const OPERATOR_TOKEN = 'of an operator of two tenants';

/** Tells which calls reach a repository: their names, and the tenant that each is about. */
function recording(repository: Repository): { repository: Repository; calls: string[] } {
  const calls: string[] = [];
  const proxy = new Proxy(repository, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        calls.push([String(name), ...args.slice(0, 1).filter((first) => typeof first === 'string')].join(' '));
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { repository: proxy, calls };
}

const operators: OperatorVerifier = {
  verify: () =>
    Promise.resolve({
      issuer: 'https://login.example',
      subject: 'olga',
      roles: new Map([TENANT, SECOND_TENANT].map((id) => [id, new Set(OPERATOR_ROLES)])),
    }),
};

const proofs: ProofVerifier = { verify: () => Promise.reject(new Error('nothing here is bound to a key')) };

interface Ids {
  sessionId: SessionId;
  grantId: GrantId;
  approvalId: ApprovalId;
}

const idsOf = ({ session, grant, approval }: Asked): Ids => ({
  sessionId: session.id,
  grantId: grant.id,
  approvalId: approval.id,
});

let world: World;
let tokens: ReturnType<typeof makeSessionTokens>;
let own: Asked;
let foreign: Asked;
beforeEach(async () => {
  world = await makeWorld();
  tokens = makeSessionTokens({ keys: world.keys, issuer: ISSUER, clock: world.clock });
  own = await world.ask();
  foreign = await world.ask({ session: { tenantId: OTHER_TENANT } });
});

function useCases() {
  const { repository, calls } = recording(world.repository);
  const deps = { ...world.deps, repository, runtime: world.runtime, operators, proofs, tokens };
  const made = {
    getGrant: getGrant(deps),
    getSession: getSession(deps),
    getApproval: getApproval(deps),
    approveGrant: approveGrant(deps),
    denyGrant: denyGrant(deps),
    revokeGrant: revokeGrant(deps),
    revokeSession: revokeSession(deps),
  };
  return { ...made, calls };
}

type UseCases = ReturnType<typeof useCases>;
type Call = (cases: UseCases, credential: string, ids: Ids) => Promise<unknown>;

/** What a call asks of the repository, how it ends, and what goes on record of that. */
async function workOf(call: Call, credential: string, ids: Ids) {
  const cases = useCases();
  const before = world.audit.events.length;
  const outcome = await call(cases, credential, ids).then(
    () => 'an answer',
    (error: unknown) => {
      if (!(error instanceof BrokerError)) throw error;
      return { code: error.code, message: error.message };
    },
  );
  const events = world.audit.events.slice(before).map(({ type, subject, code }) => ({ type, subject, code }));
  return { calls: cases.calls, outcome, events };
}

const word = (credential: string, { approvalId }: Ids) => ({ credential, approvalId, approver: '', comment: '' });

const BY_OPERATORS: readonly (readonly [name: string, find: string, call: Call])[] = [
  [
    'getGrant',
    'findGrant',
    (cases, credential, { grantId }) => cases.getGrant({ credential, grantId, waitSeconds: 0 }, CONTEXT),
  ],
  [
    'getGrant that waits',
    'findGrant',
    (cases, credential, { grantId }) => cases.getGrant({ credential, grantId, waitSeconds: 30 }, CONTEXT),
  ],
  ['getSession', 'findSession', (cases, credential, { sessionId }) => cases.getSession({ credential, sessionId }, CONTEXT)],
  [
    'getApproval',
    'findApproval',
    (cases, credential, { approvalId }) => cases.getApproval({ credential, approvalId }, CONTEXT),
  ],
  ['approveGrant', 'findApproval', (cases, credential, ids) => cases.approveGrant(word(credential, ids), CONTEXT)],
  ['denyGrant', 'findApproval', (cases, credential, ids) => cases.denyGrant(word(credential, ids), CONTEXT)],
  [
    'revokeGrant',
    'findGrant',
    (cases, credential, { grantId }) => cases.revokeGrant({ credential, grantId, reason: '' }, CONTEXT),
  ],
  [
    'revokeSession',
    'findSession',
    (cases, credential, { sessionId }) => cases.revokeSession({ credential, sessionId, reason: '' }, CONTEXT),
  ],
];

const unknownIds = (): Ids => ({ sessionId: aSessionId(), grantId: aGrantId(), approvalId: anApprovalId() });

describe("another tenant's id takes the same work as an unknown one, of an operator's call", () => {
  test.each(BY_OPERATORS)('%s', async (_name, find, call) => {
    const unknown = await workOf(call, OPERATOR_TOKEN, unknownIds());
    expect(unknown.calls).toEqual([`${find} ${TENANT}`, `${find} ${SECOND_TENANT}`, 'transact']);
    expect(unknown.outcome).toMatchObject({ code: 'not_found' });
    expect(await workOf(call, OPERATOR_TOKEN, idsOf(foreign))).toEqual(unknown);
  });

  test.each(BY_OPERATORS.filter(([name]) => !name.endsWith('waits')))(
    '%s of their own tenant is answered',
    async (_name, find, call) => {
      const { calls, outcome } = await workOf(call, OPERATOR_TOKEN, idsOf(own));
      expect(calls[0]).toBe(`${find} ${TENANT}`);
      expect(calls).not.toContain(`${find} ${SECOND_TENANT}`);
      expect(outcome).toBe('an answer');
    },
  );
});

describe("and of a session's", () => {
  const calls = BY_OPERATORS.filter(([name]) => ['getGrant', 'getGrant that waits', 'revokeGrant'].includes(name));
  const tokenOf = ({ session }: Asked) => tokens.sign({ ...session, sessionId: session.id, issuedAt: world.clock.now() });

  test.each(calls)('%s', async (_name, find, call) => {
    const token = await tokenOf(own);
    const unknown = await workOf(call, token, unknownIds());
    expect(unknown.calls).toEqual([`findSession ${TENANT}`, `${find} ${TENANT}`, 'transact']);
    expect(unknown.outcome).toMatchObject({ code: 'not_found' });
    expect(await workOf(call, token, idsOf(foreign))).toEqual(unknown);
    // Another session's of the same tenant is found, and then is no more than an unknown one.
    expect(await workOf(call, token, idsOf(await world.ask()))).toEqual(unknown);
  });

  test('revokeSession', async () => {
    const token = await tokenOf(own);
    const [, , call] = BY_OPERATORS.find(([name]) => name === 'revokeSession')!;
    const unknown = await workOf(call, token, unknownIds());
    expect(unknown.calls).toEqual([`findSession ${TENANT}`, 'transact']);
    expect(await workOf(call, token, idsOf(foreign))).toEqual(unknown);
  });
});
