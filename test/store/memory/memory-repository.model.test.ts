import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Approval, decideApproval, expireApproval } from '../../../src/domain/approval.ts';
import { endArtifact, type Artifact } from '../../../src/domain/artifact.ts';
import { conflict } from '../../../src/domain/errors.ts';
import { approveGrant, endGrant, issueGrant, type Grant } from '../../../src/domain/grant.ts';
import type { ApprovalId } from '../../../src/domain/ids.ts';
import { endSession, type Session } from '../../../src/domain/session.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import {
  aGrant,
  anApproval,
  anArtifact,
  anArtifactId,
  anEvent,
  aPendingGrant,
  aSession,
  aWord,
  after,
} from '../../support/entities.ts';
import { RecordingAuditLog } from '../../support/recording-audit-log.ts';

/** What a caller last read, which may be out of date when it acts on it. */
interface View {
  session: Session;
  grant: Grant;
  artifact: Artifact | null;
  /** Null for a grant that needed none. */
  approval: Approval | null;
}

const ACTIONS = [
  'say yes',
  'say no',
  'issue',
  'revoke grant',
  'expire grant',
  'use artifact',
  'revoke session',
  'expire session',
] as const;
type Action = (typeof ACTIONS)[number];

const step = fc.record({
  caller: fc.constantFrom(0, 1, 2),
  action: fc.constantFrom<Action | 'read'>(...ACTIONS, 'say yes', 'read'),
  auditFails: fc.boolean(),
});
/** How many people must say yes. */
const required = fc.constantFrom(0, 1, 2);

const REVOKED = ['pending -> expired', 'approved -> revoked', 'issued -> revoked', 'used -> revoked'];
const EXPIRED = ['pending -> expired', 'approved -> expired', 'issued -> expired', 'used -> expired'];
/** The arrows that an action may move the grant along. */
const ARROWS: Readonly<Record<Action, readonly string[]>> = {
  'say yes': ['pending -> approved'],
  'say no': ['pending -> denied'],
  issue: ['approved -> issued'],
  'use artifact': ['issued -> used'],
  'revoke grant': REVOKED,
  'expire grant': EXPIRED,
  'revoke session': REVOKED,
  'expire session': EXPIRED,
};
const ENDED = ['denied', 'revoked', 'expired'];

function stage(unit: UnitOfWork, action: Action, caller: number, view: View): void {
  unit.record(anEvent());
  const { session, grant, artifact } = view;
  const state = action.startsWith('revoke') ? 'revoked' : 'expired';
  if (action === 'say yes' || action === 'say no') {
    stageWord(unit, action === 'say yes' ? 'approve' : 'deny', caller, view);
  } else if (action === 'issue') {
    const issued = issueGrant(grant, anArtifactId(), after(20));
    unit.updateGrant({ expected: 'approved', next: issued });
    unit.insertArtifact(anArtifact(issued));
  } else if (action === 'use artifact') {
    if (artifact === null || grant.state !== 'issued') return;
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(20)) });
    unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
  } else if (action.endsWith('session')) {
    unit.updateSession({ expected: 'active', next: endSession(session, state, after(30), action) });
    const { tenantId, id: sessionId } = session;
    unit.endGrantsOfSession({ tenantId, sessionId, state, at: after(30), reason: action, events: () => [anEvent()] });
  } else {
    stageEnd(unit, state, action, view);
  }
}

/** One person's word, as that person sees the approval. */
function stageWord(unit: UnitOfWork, decision: 'approve' | 'deny', caller: number, { grant, approval }: View): void {
  if (approval === null || grant.state !== 'pending') throw conflict('nothing is asked');
  const next = decideApproval(approval, aWord(`person ${caller}`, { decision }));
  unit.updateApproval({ expected: 'pending', expectedDecisions: approval.decisions.length, next });
  if (next.state === 'approved') unit.updateGrant({ expected: 'pending', next: approveGrant(grant, after(610)) });
  if (next.state === 'denied') {
    unit.updateGrant({ expected: 'pending', next: endGrant(grant, 'denied', after(10), 'no') });
  }
}

function stageEnd(unit: UnitOfWork, state: 'revoked' | 'expired', reason: string, view: View): void {
  const { grant, artifact, approval } = view;
  const next = endGrant(grant, grant.state === 'pending' ? 'expired' : state, after(30), reason);
  unit.updateGrant({ expected: grant.state, next });
  if (artifact?.state === 'issued') {
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, state, after(30)) });
  }
  if (approval?.state === 'pending') {
    const expectedDecisions = approval.decisions.length;
    unit.updateApproval({ expected: 'pending', expectedDecisions, next: expireApproval(approval, after(30)) });
  }
}

/** A session with one grant, which may wait for people. */
async function start(repository: MemoryRepository, requiredApprovers: number): Promise<() => Promise<View>> {
  const opened = aSession();
  const made = requiredApprovers === 0 ? aGrant(opened) : aPendingGrant(opened);
  const { tenantId } = opened;
  await repository.transact((unit) => {
    unit.insertSession(opened);
    unit.insertGrant(made);
    if (made.state === 'pending') unit.insertApproval(anApproval(made, { requiredApprovers }));
  });
  const findApproval = (id: ApprovalId | null) => (id === null ? null : repository.findApproval(tenantId, id));
  return async () => {
    const session = await repository.findSession(tenantId, opened.id);
    const grant = await repository.findGrant(tenantId, made.id);
    if (session === null || grant === null) throw new Error('a row is gone');
    const artifactId = 'artifactId' in grant ? grant.artifactId : null;
    const artifact = artifactId && (await repository.findArtifact(tenantId, artifactId));
    return { session, grant, artifact, approval: await findApproval(made.approvalId) };
  };
}

function expectDrawn(action: Action, before: View, now: View): void {
  if (now.grant.state !== before.grant.state) {
    expect(ARROWS[action]).toContain(`${before.grant.state} -> ${now.grant.state}`);
  }
  if (before.session.state !== 'active') expect(now.session).toEqual(before.session);
  if (ENDED.includes(before.grant.state)) expect(now.grant).toEqual(before.grant);
  if (before.artifact !== null && before.artifact.state !== 'issued') expect(now.artifact).toEqual(before.artifact);
  if (now.session.state !== 'active') expect(ENDED).toContain(now.grant.state);
  if (ENDED.includes(now.grant.state)) expect(now.artifact?.state).not.toBe('issued');
  if (before.approval !== null && now.approval !== null) expectDecided(before.approval, now.approval, now.grant);
}

/** Words are only ever added, each person's yes once; what was decided stays, and the grant is what was decided. */
function expectDecided(before: Approval, now: Approval, grant: Grant): void {
  if (before.state !== 'pending') expect(now).toEqual(before);
  expect(now.decisions.slice(0, before.decisions.length)).toEqual(before.decisions);
  expect(now.decisions.length - before.decisions.length).toBeLessThanOrEqual(1);
  const people = now.decisions.filter(({ decision }) => decision === 'approve').map(({ approver }) => approver.subject);
  expect(new Set(people).size).toBe(people.length);
  expect(now.state === 'pending').toBe(grant.state === 'pending');
  expect(now.state === 'denied').toBe(grant.state === 'denied');
  expect(now.state === 'denied').toBe(now.decisions.some(({ decision }) => decision === 'deny'));
  expect(now.state === 'approved').toBe(people.length === now.requiredApprovers && now.state !== 'denied');
  if (['issued', 'used', 'revoked'].includes(grant.state)) expect(now.state).toBe('approved');
}

it('callers with outdated views move a grant along drawn arrows only, or are told conflict', async () => {
  await fc.assert(
    fc.asyncProperty(required, fc.array(step, { maxLength: 25 }), async (requiredApprovers, steps) => {
      const auditLog = new RecordingAuditLog();
      const repository = new MemoryRepository({ auditLog });
      const look = await start(repository, requiredApprovers);
      const views = [await look(), await look(), await look()];
      for (const { caller, action, auditFails } of steps) {
        const view = views[caller];
        if (action === 'read' || view === undefined) {
          views[caller] = await look();
          continue;
        }
        const before = await look();
        const events = auditLog.events.length;
        if (auditFails) auditLog.failNext();
        const failure: unknown = await repository
          .transact((unit) => stage(unit, action, caller, view))
          .then(
            () => null,
            (error: unknown) => error,
          );
        const now = await look();
        if (failure !== null) {
          expect(failure).toMatchObject({ code: expect.stringMatching(/^(conflict|unavailable)$/) });
          expect(now).toEqual(before);
          expect(auditLog.events).toHaveLength(events);
        } else {
          expect(auditLog.events.length).toBeGreaterThan(events);
        }
        expectDrawn(action, before, now);
      }
    }),
    { numRuns: 600 },
  );
});
