import { describe, expect, it } from 'vitest';
import { decideApproval } from '../../src/domain/approval.ts';
import { endGrant } from '../../src/domain/grant.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from '../../src/domain/ids.ts';
import type { Page, PageRequest, Repository } from '../../src/domain/repository.ts';
import {
  aGrant,
  anApproval,
  anEvent,
  aPendingGrant,
  aRevocation,
  aSession,
  aSessionId,
  aWord,
  after,
  OTHER_TENANT,
  TENANT,
} from '../support/entities.ts';
import {
  eachWithRepository,
  endSessionAfter,
  givenPendingGrant,
  givenSession,
  type OpenRepository,
} from './repository-under-test.ts';

interface Listing {
  name: string;
  /** Commits rows of a tenant one after the other, and answers their ids. */
  fill: (repository: Repository, count: number, tenantId?: TenantId) => Promise<string[]>;
  list: (repository: Repository, page: PageRequest, tenantId?: TenantId) => Promise<Page<{ id: string }>>;
}

const listings: Listing[] = [
  {
    name: 'sessions',
    fill: async (repository, count, tenantId = TENANT) => {
      const sessions = Array.from({ length: count }, () => aSession({ tenantId }));
      for (const session of sessions) await givenSession(repository, session);
      return sessions.map(({ id }) => id);
    },
    list: (repository, page, tenantId = TENANT) => repository.listSessions(tenantId, {}, page),
  },
  {
    name: 'grants',
    fill: async (repository, count, tenantId = TENANT) => {
      const session = await givenSession(repository, aSession({ tenantId }));
      const grants = Array.from({ length: count }, () => aGrant(session));
      for (const grant of grants) await repository.transact((unit) => unit.insertGrant(grant));
      return grants.map(({ id }) => id);
    },
    list: (repository, page, tenantId = TENANT) => repository.listGrants(tenantId, {}, page),
  },
  {
    name: 'approvals',
    fill: async (repository, count, tenantId = TENANT) => {
      const session = await givenSession(repository, aSession({ tenantId }));
      const grants = Array.from({ length: count }, () => aPendingGrant(session));
      for (const grant of grants) {
        await repository.transact((unit) => {
          unit.insertGrant(grant);
          unit.insertApproval(anApproval(grant));
        });
      }
      return grants.map(({ approvalId }) => approvalId);
    },
    list: (repository, page, tenantId = TENANT) => repository.listApprovals(tenantId, {}, page),
  },
  {
    name: 'revocations',
    fill: async (repository, count, tenantId = TENANT) => {
      const revocations = Array.from({ length: count }, () => aRevocation(aSession({ tenantId })));
      for (const revocation of revocations) await repository.transact((unit) => unit.insertRevocation(revocation));
      return revocations.map(({ id }) => id);
    },
    list: (repository, page, tenantId = TENANT) => repository.listRevocations(tenantId, {}, page),
  },
  {
    name: 'audit events',
    fill: async (repository, count, tenantId = TENANT) => {
      const events = Array.from({ length: count }, () => anEvent({ subject: { tenantId } }));
      for (const event of events) await repository.transact((unit) => unit.record(event));
      return events.map(({ id }) => id);
    },
    list: (repository, page, tenantId = TENANT) => repository.listAuditEvents(tenantId, {}, page),
  },
];

/** Reads on from a cursor to the last page; fails on a page that is longer than asked for. */
async function readAll(
  list: (page: PageRequest) => Promise<Page<{ id: string }>>,
  limit: number,
  start: string | null = null,
): Promise<string[]> {
  const ids: string[] = [];
  let after = start;
  do {
    const page = await list({ limit, after });
    expect(page.rows.length).toBeLessThanOrEqual(limit);
    ids.push(...page.rows.map(({ id }) => id));
    after = page.next;
  } while (after !== null);
  return ids;
}

const EVERYTHING = { limit: 100, after: null };

/** What every repository must do when operators look through its rows. */
export function repositoryListingContract(open: OpenRepository): void {
  describe.each(listings)('the list of $name', ({ fill, list }) => {
    const under = eachWithRepository(open);

    it('is empty where there is nothing', async () => {
      expect(await list(under.current.repository, EVERYTHING)).toEqual({ rows: [], next: null });
    });

    it.each([1, 3, 4, 10, 11])('shows everything once, newest first, in pages of %i', async (limit) => {
      const { repository } = under.current;
      const ids = await fill(repository, 10);
      expect(await readAll((page) => list(repository, page), limit)).toEqual(ids.toReversed());
    });

    it('ends with the page that has the last row', async () => {
      const { repository } = under.current;
      await fill(repository, 4);
      const first = await list(repository, { limit: 2, after: null });
      expect(first.next).not.toBeNull();
      expect(await list(repository, { limit: 2, after: first.next })).toMatchObject({ next: null });
      expect(await list(repository, { limit: 4, after: null })).toMatchObject({ next: null });
    });

    it('shows nothing twice and misses nothing when rows come between two pages', async () => {
      const { repository } = under.current;
      const ids = await fill(repository, 6);
      const first = await list(repository, { limit: 2, after: null });
      const newer = await fill(repository, 5);
      const rest = await readAll((page) => list(repository, page), 2, first.next);
      expect([...first.rows.map(({ id }) => id), ...rest]).toEqual(ids.toReversed());
      expect(await readAll((page) => list(repository, page), 100)).toEqual([...ids, ...newer].toReversed());
    });

    it('shows nothing twice and misses nothing while rows keep coming', async () => {
      const { repository } = under.current;
      const ids = await fill(repository, 8);
      const [seen] = await Promise.all([readAll((page) => list(repository, page), 1), fill(repository, 8)]);
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen.filter((id) => ids.includes(id))).toEqual(ids.toReversed());
      expect(seen).toEqual(seen.toSorted().toReversed());
    });

    it('shows a tenant its own alone', async () => {
      const { repository } = under.current;
      const own: string[] = [];
      const others: string[] = [];
      for (let turn = 0; turn < 3; turn += 1) {
        own.push(...(await fill(repository, 2)));
        others.push(...(await fill(repository, 2, OTHER_TENANT)));
      }
      const read = (tenantId: TenantId) => readAll((page) => list(repository, page, tenantId), 1);
      expect(await read(TENANT)).toEqual(own.toReversed());
      expect(await read(OTHER_TENANT)).toEqual(others.toReversed());
      expect(await read('t_none' as TenantId)).toEqual([]);
    });

    it("shows a tenant its own alone after another's cursor", async () => {
      const { repository } = under.current;
      const own = await fill(repository, 3);
      await fill(repository, 3, OTHER_TENANT);
      const { next } = await list(repository, { limit: 1, after: null }, OTHER_TENANT);
      expect(next).not.toBeNull();
      const seen = await readAll((page) => list(repository, page), 2, next);
      expect(seen.filter((id) => !own.includes(id))).toEqual([]);
    });

    it.each(['', ' ', 'no cursor', '%', '../..', '💥', "' OR 1=1 --", 'x'.repeat(10_000), 'AAAA', '-1', '0'])(
      'refuses %j for a cursor',
      async (after) => {
        const { repository } = under.current;
        await fill(repository, 2);
        await expect(list(repository, { limit: 1, after })).rejects.toMatchObject({
          code: 'invalid_request',
          message: expect.stringMatching(/^page_token: /),
        });
      },
    );
  });

  cursors(open);
  filters(open);
  strangeSessions(open);
}

function cursors(open: OpenRepository): void {
  describe('a cursor', () => {
    const under = eachWithRepository(open);

    it('stays valid when the row that it ended with is forgotten', async () => {
      const { repository } = under.current;
      const sessions = [];
      for (let made = 0; made < 4; made += 1) sessions.push(await givenSession(repository));
      const [oldest, older, newer] = sessions;
      const { rows, next } = await repository.listSessions(TENANT, {}, { limit: 2, after: null });
      expect(rows[1]).toEqual(newer);
      if (newer !== undefined) await endSessionAfter(repository, newer, 5);
      expect(await repository.forgetEnded(after(6), 10)).toBe(1);
      expect(await repository.listSessions(TENANT, {}, { limit: 5, after: next })).toEqual({
        rows: [older, oldest],
        next: null,
      });
    });

    it('stays valid when a row changes its state', async () => {
      const { repository } = under.current;
      const session = await givenSession(repository);
      const grants = [aGrant(session), aGrant(session), aGrant(session)];
      await repository.transact((unit) => grants.forEach((grant) => unit.insertGrant(grant)));
      const [oldest, middle, newest] = grants.map((grant) => endGrant(grant, 'revoked', after(5), 'done'));
      const { next } = await repository.listGrants(TENANT, {}, { limit: 1, after: null });
      await repository.transact((unit) => {
        for (const ended of [newest, oldest, middle]) if (ended) unit.updateGrant({ expected: 'approved', next: ended });
      });
      expect((await repository.listGrants(TENANT, {}, { limit: 5, after: next })).rows).toEqual([middle, oldest]);
    });
  });
}

function filters(open: OpenRepository): void {
  describe('a filter', () => {
    const under = eachWithRepository(open);

    it('of sessions lets through what has every value that it names', async () => {
      const { repository } = under.current;
      const agentId = 'agent_x' as AgentId;
      const runId = 'run_x' as RunId;
      const workloadHash = 'e'.repeat(64) as WorkloadHash;
      const plain = await givenSession(repository);
      const ofAgent = await givenSession(repository, aSession({ agentId }));
      const ofRun = await givenSession(repository, aSession({ agentId, runId }));
      const ofWorkload = await givenSession(repository, aSession({ runId, workloadHash }));
      await endSessionAfter(repository, ofRun, 5);
      await givenSession(repository, aSession({ tenantId: OTHER_TENANT, agentId, runId, workloadHash }));
      const list = async (filter: Parameters<Repository['listSessions']>[1]) =>
        readAll((page) => repository.listSessions(TENANT, filter, page), 1);
      expect(await list({ state: 'active' })).toEqual([ofWorkload.id, ofAgent.id, plain.id]);
      expect(await list({ state: 'expired' })).toEqual([ofRun.id]);
      expect(await list({ state: 'revoked' })).toEqual([]);
      expect(await list({ agentId })).toEqual([ofRun.id, ofAgent.id]);
      expect(await list({ runId })).toEqual([ofWorkload.id, ofRun.id]);
      expect(await list({ runId, state: 'active' })).toEqual([ofWorkload.id]);
      expect(await list({ runId, agentId, state: 'active' })).toEqual([]);
      expect(await list({ workloadHash })).toEqual([ofWorkload.id]);
      expect(await list({ workloadHash, state: 'active' })).toEqual([ofWorkload.id]);
      expect(await list({ workloadHash, agentId })).toEqual([]);
    });

    it('of grants lets through what has every value that it names', async () => {
      const { repository } = under.current;
      const [session, other] = [aSession(), aSession({ agentId: 'agent_x' as AgentId, runId: 'run_x' as RunId })];
      const foreign = aSession({ tenantId: OTHER_TENANT });
      const [first, pending, write] = [aGrant(session), aPendingGrant(session), aGrant(other, { capability: 'repo.write' })];
      await repository.transact((unit) => {
        for (const opened of [session, other, foreign]) unit.insertSession(opened);
        for (const made of [first, pending, write, aGrant(foreign)]) unit.insertGrant(made);
      });
      const list = async (filter: Parameters<Repository['listGrants']>[1]) =>
        readAll((page) => repository.listGrants(TENANT, filter, page), 1);
      expect(await list({})).toEqual([write.id, pending.id, first.id]);
      expect(await list({ state: 'approved' })).toEqual([write.id, first.id]);
      expect(await list({ state: 'pending' })).toEqual([pending.id]);
      expect(await list({ sessionId: session.id })).toEqual([pending.id, first.id]);
      expect(await list({ sessionId: session.id, state: 'approved' })).toEqual([first.id]);
      expect(await list({ agentId: other.agentId })).toEqual([write.id]);
      expect(await list({ runId: other.runId })).toEqual([write.id]);
      expect(await list({ capability: 'repo.read' })).toEqual([pending.id, first.id]);
      expect(await list({ capability: 'repo.read', runId: other.runId })).toEqual([]);
      expect(await list({ sessionId: foreign.id })).toEqual([]);
    });

    it('of approvals lets through what has every value that it names', async () => {
      const { repository } = under.current;
      const [session, other, foreign] = [aSession(), aSession(), aSession({ tenantId: OTHER_TENANT })];
      const grants = [session, session, other, foreign].map((owner) => aPendingGrant(owner));
      const approvals = grants.map((grant) => anApproval(grant));
      const [first, second, third] = approvals;
      await repository.transact((unit) => {
        for (const opened of [session, other, foreign]) unit.insertSession(opened);
        for (const grant of grants) unit.insertGrant(grant);
        for (const approval of approvals) unit.insertApproval(approval);
        if (first === undefined) return;
        const next = decideApproval(first, aWord('alice', { decision: 'deny' }));
        unit.updateApproval({ expected: 'pending', expectedDecisions: 0, next });
      });
      const list = async (filter: Parameters<Repository['listApprovals']>[1]) =>
        readAll((page) => repository.listApprovals(TENANT, filter, page), 1);
      expect(await list({})).toEqual([third?.id, second?.id, first?.id]);
      expect(await list({ state: 'pending' })).toEqual([third?.id, second?.id]);
      expect(await list({ state: 'denied' })).toEqual([first?.id]);
      expect(await list({ sessionId: session.id })).toEqual([second?.id, first?.id]);
      expect(await list({ sessionId: session.id, state: 'pending' })).toEqual([second?.id]);
      expect(await list({ sessionId: foreign.id })).toEqual([]);
    });

    it('of audit events lets through what has every value that it names', async () => {
      const { repository } = under.current;
      const subject = { tenantId: TENANT, sessionId: 'sess_1', grantId: 'gr_1' };
      const made = anEvent({ type: 'grant.requested', subject });
      const asked = anEvent({ type: 'approval.requested', subject: { ...subject, approvalId: 'ap_1' } });
      const refused = anEvent({ type: 'grant.refused', subject: { tenantId: TENANT, sessionId: 'sess_2' } });
      const foreign = anEvent({ type: 'grant.refused', subject: { ...subject, tenantId: OTHER_TENANT } });
      await repository.transact((unit) => [made, asked, refused, foreign].forEach((event) => unit.record(event)));
      const list = async (filter: object) => readAll((page) => repository.listAuditEvents(TENANT, filter, page), 1);
      expect(await list({})).toEqual([refused.id, asked.id, made.id]);
      expect(await list({ type: 'grant.refused' })).toEqual([refused.id]);
      expect(await list({ sessionId: 'sess_1' })).toEqual([asked.id, made.id]);
      expect(await list({ grantId: 'gr_1', type: 'grant.requested' })).toEqual([made.id]);
      expect(await list({ approvalId: 'ap_1' })).toEqual([asked.id]);
      expect(await list({ sessionId: 'sess_2', grantId: 'gr_1' })).toEqual([]);
      expect(
        (await repository.listAuditEvents(TENANT, { approvalId: asked.subject.approvalId } as object, EVERYTHING)).rows,
      ).toEqual([asked]);
    });
  });
}

type OfSession = (
  repository: Repository,
  tenantId: TenantId,
  sessionId: SessionId,
  page: PageRequest,
) => Promise<Page<{ id: string }>>;

const ofSession: [string, OfSession][] = [
  ['grants', (repository, tenantId, sessionId, page) => repository.listGrants(tenantId, { sessionId }, page)],
  [
    'grants in a state',
    (repository, tenantId, sessionId, page) => repository.listGrants(tenantId, { sessionId, state: 'pending' }, page),
  ],
  ['approvals', (repository, tenantId, sessionId, page) => repository.listApprovals(tenantId, { sessionId }, page)],
  [
    'approvals in a state',
    (repository, tenantId, sessionId, page) => repository.listApprovals(tenantId, { sessionId, state: 'pending' }, page),
  ],
  ['audit events', (repository, tenantId, sessionId, page) => repository.listAuditEvents(tenantId, { sessionId }, page)],
];

function strangeSessions(open: OpenRepository): void {
  describe("another tenant's session", () => {
    const under = eachWithRepository(open);

    /** Two sessions of two tenants with as much in each. */
    const givenBoth = async () => {
      const { repository } = under.current;
      const own = await givenSession(repository);
      const foreign = await givenSession(repository, aSession({ tenantId: OTHER_TENANT }));
      for (const { id: sessionId, tenantId } of [own, foreign, own, foreign, own, foreign]) {
        await givenPendingGrant(repository, sessionId === own.id ? own : foreign);
        await repository.transact((unit) => unit.record(anEvent({ subject: { tenantId, sessionId } })));
      }
      return { own, foreign };
    };

    it.each(ofSession)(
      'answers a list of its %s as an unknown one does, from the start and after cursors',
      async (_, list) => {
        const { repository } = under.current;
        const { own, foreign } = await givenBoth();
        const cursors = [
          null,
          (await list(repository, TENANT, own.id, { limit: 1, after: null })).next,
          (await list(repository, OTHER_TENANT, foreign.id, { limit: 1, after: null })).next,
        ];
        expect(new Set(cursors).size).toBe(3);
        for (const after of cursors) {
          for (const limit of [1, 2, 100]) {
            const unknown = await list(repository, TENANT, aSessionId(), { limit, after });
            expect(unknown).toEqual({ rows: [], next: null });
            expect(await list(repository, TENANT, foreign.id, { limit, after })).toEqual(unknown);
          }
        }
      },
    );

    it.each(ofSession)('refuses a broken cursor of its %s as an unknown one does', async (_, list) => {
      const { repository } = under.current;
      const { foreign } = await givenBoth();
      for (const sessionId of [foreign.id, aSessionId()]) {
        await expect(list(repository, TENANT, sessionId, { limit: 1, after: 'no cursor' })).rejects.toMatchObject({
          code: 'invalid_request',
          message: expect.stringMatching(/^page_token: /),
        });
      }
    });
  });
}
