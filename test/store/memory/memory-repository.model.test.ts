import fc from 'fast-check';
import { expect, it } from 'vitest';
import { endArtifact, type Artifact } from '../../../src/domain/artifact.ts';
import { endGrant, issueGrant, type Grant } from '../../../src/domain/grant.ts';
import { endSession, type Session } from '../../../src/domain/session.ts';
import type { UnitOfWork } from '../../../src/domain/unit-of-work.ts';
import { MemoryRepository } from '../../../src/store/memory/memory-repository.ts';
import { aGrant, anArtifact, anArtifactId, anEvent, aSession, after } from '../../support/entities.ts';
import { RecordingAuditLog } from '../../support/recording-audit-log.ts';

/** What a caller last read, which may be out of date when it acts on it. */
interface View {
  session: Session;
  grant: Grant;
  artifact: Artifact | null;
}

const ACTIONS = ['issue', 'revoke grant', 'expire grant', 'use artifact', 'revoke session', 'expire session'] as const;
type Action = (typeof ACTIONS)[number];

const step = fc.record({
  caller: fc.constantFrom(0, 1, 2),
  action: fc.constantFrom<Action | 'read'>(...ACTIONS, 'read'),
  auditFails: fc.boolean(),
});

/** The arrows that an action may move the grant along. */
const ARROWS: Readonly<Record<Action, readonly string[]>> = {
  issue: ['approved -> issued'],
  'use artifact': ['issued -> used'],
  'revoke grant': ['approved -> revoked', 'issued -> revoked', 'used -> revoked'],
  'expire grant': ['approved -> expired', 'issued -> expired', 'used -> expired'],
  'revoke session': ['approved -> revoked', 'issued -> revoked', 'used -> revoked'],
  'expire session': ['approved -> expired', 'issued -> expired', 'used -> expired'],
};
const ENDED = ['revoked', 'expired'];

function stage(unit: UnitOfWork, action: Action, { session, grant, artifact }: View): void {
  unit.record(anEvent());
  const state = action.startsWith('revoke') ? 'revoked' : 'expired';
  if (action === 'issue') {
    const issued = issueGrant(grant, anArtifactId(), after(1));
    unit.updateGrant({ expected: 'approved', next: issued });
    unit.insertArtifact(anArtifact(issued));
  } else if (action === 'use artifact') {
    if (artifact === null || grant.state !== 'issued') return;
    unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, 'used', after(2)) });
    unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used' } });
  } else if (action.endsWith('session')) {
    unit.updateSession({ expected: 'active', next: endSession(session, state, after(3), action) });
    const { tenantId, id: sessionId } = session;
    unit.endGrantsOfSession({ tenantId, sessionId, state, at: after(3), reason: action, events: () => [anEvent()] });
  } else {
    unit.updateGrant({ expected: grant.state, next: endGrant(grant, state, after(3), action) });
    if (artifact?.state === 'issued')
      unit.updateArtifact({ expected: 'issued', next: endArtifact(artifact, state, after(3)) });
  }
}

it('callers with outdated views move a grant along drawn arrows only, or are told conflict', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const auditLog = new RecordingAuditLog();
      const repository = new MemoryRepository({ auditLog });
      const start = aSession();
      const made = aGrant(start);
      await repository.transact((unit) => {
        unit.insertSession(start);
        unit.insertGrant(made);
      });
      const look = async (): Promise<View> => {
        const session = await repository.findSession(start.tenantId, start.id);
        const grant = await repository.findGrant(start.tenantId, made.id);
        if (session === null || grant === null) throw new Error('a row is gone');
        const artifactId = 'artifactId' in grant ? grant.artifactId : null;
        return { session, grant, artifact: artifactId && (await repository.findArtifact(start.tenantId, artifactId)) };
      };
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
          .transact((unit) => stage(unit, action, view))
          .then(
            () => null,
            (error: unknown) => error,
          );
        const now = await look();
        if (failure !== null) {
          expect(failure).toMatchObject({ code: expect.stringMatching(/^(conflict|unavailable)$/) as string });
          expect(now).toEqual(before);
          expect(auditLog.events).toHaveLength(events);
        } else {
          expect(auditLog.events.length).toBeGreaterThan(events);
        }
        if (now.grant.state !== before.grant.state)
          expect(ARROWS[action]).toContain(`${before.grant.state} -> ${now.grant.state}`);
        if (before.session.state !== 'active') expect(now.session).toEqual(before.session);
        if (ENDED.includes(before.grant.state)) expect(now.grant).toEqual(before.grant);
        if (before.artifact !== null && before.artifact.state !== 'issued') expect(now.artifact).toEqual(before.artifact);
        if (now.session.state !== 'active') expect(ENDED).toContain(now.grant.state);
        if (ENDED.includes(now.grant.state)) expect(now.artifact?.state).not.toBe('issued');
      }
    }),
    { numRuns: 400 },
  );
});
