import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AuditLog } from '../../../src/domain/audit-log.ts';
import type { DownstreamCall } from '../../../src/domain/downstream-call.ts';
import { BrokerError, budgetExceeded, conflict, unavailable } from '../../../src/domain/errors.ts';
import {
  type DueRevocation,
  dueRevocation,
  endRevocation,
  holdLease,
  postponeRevocation,
  type Revocation,
} from '../../../src/domain/revocation.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import { givenIssuedGrant } from '../../contract/repository-under-test.ts';
import { aCall, aCallId, aGrantId, anEvent, aRevocation, aSession, after, TENANT } from '../../support/entities.ts';

type Artifact = Awaited<ReturnType<typeof givenIssuedGrant>>['artifact'];

const MAX_REQUESTS = 6;
const MAX_CONCURRENT = 2;
const MAX_BYTES = 1000;
const PLACES = [0, 1, 2] as const;
const LEASE = { leaseId: 'lease/1', expiresAt: after(600) };

const place = fc.constantFrom(...PLACES);
const step = fc.record({
  action: fc.constantFrom('call', 'close', 'bytes', 'request', 'hold', 'due', 'put off', 'end'),
  place,
  amount: fc.integer({ min: 0, max: 600 }),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;
const turn = fc.oneof(
  { weight: 5, arbitrary: fc.record({ unit: fc.array(step, { minLength: 1, maxLength: 3 }), auditFails: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant('claim' as const) },
);

class FailingAuditLog implements AuditLog {
  fails = false;

  append(): void {
    if (this.fails) throw unavailable('audit log cannot be written');
  }

  ping(): void {
    this.append();
  }
}

/** The rows as plain lists: three calls, three leases of three grants, one handle. */
interface Rows {
  calls: readonly DownstreamCall[];
  revocations: readonly Revocation[];
  requests: number;
  bytes: number;
}

/** What everybody may name. */
interface Names {
  artifact: Artifact;
  calls: readonly DownstreamCall[];
  revocations: readonly ReturnType<typeof aRevocation>[];
}

/** Stages one step, by the rows as they were before the unit. */
function stage(
  unit: UnitOfWork,
  { artifact, calls, revocations }: Names,
  { action, place: at, amount }: Step,
  rows: Rows,
): void {
  const { tenantId, id: artifactId } = artifact;
  const [call, requested] = [calls[at], revocations[at]];
  if (call === undefined || requested === undefined) throw new Error('there are three of each');
  const known = rows.revocations.find(({ id }) => id === requested.id) ?? requested;
  const due = known.state === 'due' ? known : dueRevocation(holdLease(requested, LEASE), after(at));
  const staging: Record<Step['action'], () => void> = {
    call: () => {
      unit.openCall(call);
      unit.spendRequest({ ...spendingOf(call, artifact), now: after(0) });
    },
    close: () => unit.closeCall({ tenantId, callId: call.id }),
    bytes: () => unit.spendBytes({ tenantId, artifactId, bytes: amount, maxBytes: MAX_BYTES }),
    request: () => unit.insertRevocation(requested),
    hold: () => unit.updateRevocation({ expected: 'requested', next: holdLease(requested, LEASE) }),
    due: () => unit.makeRevocationDue({ tenantId, grantId: requested.grantId, at: after(at) }),
    'put off': () => unit.updateRevocation({ expected: 'due', next: postponeRevocation(due, after(10 + at), 'not now') }),
    end: () =>
      unit.updateRevocation({ expected: 'due', next: endRevocation(due, { outcome: 'revoked', endedAt: after(9) }) }),
  };
  staging[action]();
}

const spendingOf = (call: DownstreamCall, { tenantId, id: artifactId }: Artifact) => ({
  tenantId,
  artifactId,
  callId: call.id,
  maxRequests: MAX_REQUESTS,
  maxConcurrent: MAX_CONCURRENT,
});

/** The same step on the plain lists. Throws what the repository must say. */
function expected(now: Rows, { calls, revocations }: Names, { action, place: at, amount }: Step, before: Rows): Rows {
  const [call, requested] = [calls[at], revocations[at]];
  if (call === undefined || requested === undefined) throw new Error('there are three of each');
  const isOpen = now.calls.includes(call);
  const current = now.revocations.find(({ id }) => id === requested.id);
  const seen = before.revocations.find(({ id }) => id === requested.id);
  const put = (next: Revocation): Rows => ({
    ...now,
    revocations: [...now.revocations.filter(({ id }) => id !== next.id), next],
  });
  const changeable = (): DueRevocation => {
    const attempts = seen?.state === 'due' ? seen.attempts : 0;
    if (current?.state !== 'due' || current.attempts !== attempts) throw conflict('not due, or tried meanwhile');
    return seen?.state === 'due' ? seen : current;
  };
  switch (action) {
    case 'call':
      if (isOpen) throw conflict('taken');
      if (now.requests >= MAX_REQUESTS || now.calls.length >= MAX_CONCURRENT) throw budgetExceeded('used up');
      return { ...now, calls: [...now.calls, call], requests: now.requests + 1 };
    case 'close':
      if (!isOpen) throw conflict('not open');
      return { ...now, calls: now.calls.filter((other) => other !== call) };
    case 'bytes':
      if (now.bytes + amount > MAX_BYTES) throw budgetExceeded('used up');
      return { ...now, bytes: now.bytes + amount };
    case 'request':
      if (current !== undefined) throw conflict('taken');
      return put(requested);
    case 'hold':
      if (current?.state !== 'requested') throw conflict('not requested');
      return put(holdLease(requested, LEASE));
    case 'due':
      return current?.state === 'held' ? put(dueRevocation(current, after(at))) : now;
    case 'put off':
      return put(postponeRevocation(changeable(), after(10 + at), 'not now'));
    case 'end':
      return put(endRevocation(changeable(), { outcome: 'revoked', endedAt: after(9) }));
  }
}

const byId = <Row extends { id: string }>(rows: readonly Row[]): Row[] =>
  rows.toSorted((one, other) => (one.id < other.id ? -1 : 1));

async function expectSame(repository: MemoryRepository, { artifact }: Names, rows: Rows): Promise<void> {
  const usage = await repository.findHandleUsage(artifact.handleHash);
  expect(usage).toMatchObject({ requests: rows.requests, bytes: rows.bytes });
  expect(usage?.slots.map(({ slotId }) => slotId).sort()).toEqual(rows.calls.map(({ id }) => id).sort());
  expect(byId(await repository.findOverdueCalls(after(1e6), 10))).toEqual(byId(rows.calls));
  const page = await repository.listRevocations(TENANT, {}, { limit: 10, after: null });
  expect(page.rows.toReversed()).toEqual(byId(rows.revocations));
  const open = rows.revocations
    .filter(({ state }) => state !== 'done')
    .map(({ connector, state }) => `${connector} ${state}`);
  const counted = (await repository.countOpenLeases()).flatMap(({ connector, state, count }) =>
    Array.from({ length: count }, () => `${connector} ${state}`),
  );
  expect(counted.sort()).toEqual(open.sort());
}

it('what is begun downstream is what plain lists would have, whatever units come and fail', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { maxLength: 20 }), async (turns) => {
      const auditLog = new FailingAuditLog();
      const repository = new MemoryRepository({ auditLog });
      const { artifact } = await givenIssuedGrant(repository);
      const names: Names = {
        artifact,
        calls: PLACES.map(() => aCall(artifact, { id: aCallId() })),
        revocations: PLACES.map(() => aRevocation(aSession(), { grantId: aGrantId() })),
      };
      let rows: Rows = { calls: [], revocations: [], requests: 0, bytes: 0 };
      for (const one of turns) {
        rows = one === 'claim' ? await claim(repository, rows) : await commit(one, repository, auditLog, names, rows);
        await expectSame(repository, names, rows);
      }
    }),
    { numRuns: 400 },
  );
});

/** Claims all that is due ten seconds after the start. */
async function claim(repository: MemoryRepository, rows: Rows): Promise<Rows> {
  const claimed = await repository.claimDueRevocations({ now: after(10), claimedUntil: after(11), limit: 10, busy: [] });
  const taken: Revocation[] = [];
  const revocations = rows.revocations.map((revocation) => {
    if (revocation.state !== 'due' || revocation.nextAttemptAt > after(10)) return revocation;
    const next = { ...revocation, attempts: revocation.attempts + 1, nextAttemptAt: after(11) };
    taken.push(next);
    return next;
  });
  expect(byId<Revocation>(claimed)).toEqual(byId(taken));
  return { ...rows, revocations };
}

async function commit(
  { unit: steps, auditFails }: { unit: Step[]; auditFails: boolean },
  repository: MemoryRepository,
  auditLog: FailingAuditLog,
  names: Names,
  rows: Rows,
): Promise<Rows> {
  auditLog.fails = auditFails;
  const code = await repository
    .transact((unit) => {
      for (const one of steps) stage(unit, names, one, rows);
      unit.record(anEvent());
    })
    .then(() => 'committed', codeOf);
  auditLog.fails = false;
  const [next, refusal] = whatComesOf(steps, names, rows);
  expect(code).toBe(refusal ?? (auditFails ? 'unavailable' : 'committed'));
  return code === 'committed' ? next : rows;
}

/** The rows after all steps, or the code that the first of them must be refused with. */
function whatComesOf(steps: readonly Step[], names: Names, rows: Rows): [Rows, string | null] {
  try {
    return [steps.reduce((now, one) => expected(now, names, one, rows), rows), null];
  } catch (error) {
    return [rows, codeOf(error)];
  }
}

const codeOf = (error: unknown): string => {
  if (error instanceof BrokerError) return error.code;
  throw error;
};
