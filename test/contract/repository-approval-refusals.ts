import {
  type Approval,
  type ApprovalTerms,
  decideApproval,
  expireApproval,
  type PendingApproval,
} from '../../src/domain/approval.ts';
import { approveGrant, endGrant, type PendingGrant } from '../../src/domain/grant.ts';
import type { RunId } from '../../src/domain/ids.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aGrantId,
  anApproval,
  anApprovalId,
  aPendingGrant,
  aSessionId,
  aWord,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';

/** A session with a grant that waits, for two people. */
interface Given {
  session: ActiveSession;
  grant: PendingGrant;
  approval: PendingApproval;
}
interface Attempt {
  name: string;
  stage: (unit: UnitOfWork, given: Given) => void;
}

/** A second grant that waits, and its approval of which something is given. */
function withGrant(unit: UnitOfWork, session: ActiveSession, overrides: Partial<PendingApproval>): void {
  const grant = aPendingGrant(session);
  unit.insertGrant(grant);
  unit.insertApproval(anApproval(grant, overrides));
}

const decide = (unit: UnitOfWork, next: Approval, expectedDecisions = 0): void =>
  unit.updateApproval({ expected: 'pending', expectedDecisions, next });

/** Lost races and rows that are not there. */
export const approvalConflicts: Attempt[] = [
  {
    name: 'an approval id is taken',
    stage: (unit, { session, approval }) => {
      const grant = aPendingGrant(session, { approvalId: approval.id });
      unit.insertGrant(grant);
      unit.insertApproval(anApproval(grant));
    },
  },
  {
    name: 'an approval has no grant',
    stage: (unit, { session }) => unit.insertApproval(anApproval(aPendingGrant(session))),
  },
  {
    name: "an approval is for another tenant's grant",
    stage: (unit, { session }) => withGrant(unit, session, { tenantId: OTHER_TENANT }),
  },
  {
    name: "an approval is for another session's grant",
    stage: (unit, { session }) => withGrant(unit, session, { sessionId: aSessionId() }),
  },
  {
    name: 'an approval is not the one that its grant waits for',
    stage: (unit, { session }) => withGrant(unit, session, { id: anApprovalId() }),
  },
  {
    name: 'an approval comes after its grant was approved in the same unit',
    stage: (unit, { session }) => {
      const grant = aPendingGrant(session);
      unit.insertGrant(grant);
      unit.updateGrant({ expected: 'pending', next: approveGrant(grant, after(600)) });
      unit.insertApproval(anApproval(grant));
    },
  },
  {
    name: 'an approval comes after its grant ended in the same unit',
    stage: (unit, { session }) => {
      const grant = aPendingGrant(session);
      unit.insertGrant(grant);
      unit.updateGrant({ expected: 'pending', next: endGrant(grant, 'expired', after(2), 'late') });
      unit.insertApproval(anApproval(grant));
    },
  },
  {
    name: 'an approval to decide is not there',
    stage: (unit, { approval }) => decide(unit, decideApproval({ ...approval, id: anApprovalId() }, aWord('bob'))),
  },
  {
    name: "an approval to decide is another tenant's",
    stage: (unit, { approval }) => decide(unit, decideApproval({ ...approval, tenantId: OTHER_TENANT }, aWord('bob'))),
  },
  {
    name: 'an approval has been denied meanwhile',
    stage: (unit, { approval }) => {
      decide(unit, decideApproval(approval, aWord('alice', { decision: 'deny' })));
      decide(unit, decideApproval(approval, aWord('bob')));
    },
  },
  {
    name: 'an approval has expired meanwhile',
    stage: (unit, { approval }) => {
      decide(unit, expireApproval(approval, after(9)));
      decide(unit, decideApproval(approval, aWord('bob')));
    },
  },
  {
    name: 'an approval has got a word that the decider did not see',
    stage: (unit, { approval }) => {
      decide(unit, decideApproval(approval, aWord('alice')));
      decide(unit, decideApproval(approval, aWord('bob')));
    },
  },
  {
    name: 'an approval expires with fewer words than it has',
    stage: (unit, { approval }) => {
      decide(unit, decideApproval(approval, aWord('alice')));
      decide(unit, expireApproval(approval, after(301)));
    },
  },
];

const changes: [string, Partial<ApprovalTerms>][] = [
  ['on another request', { requestHash: 'c'.repeat(64) }],
  ['that needs fewer people', { requiredApprovers: 1 }],
  ['whose yes answers again', { reuse: true }],
  ['that excludes nobody', { excluded: [] }],
  ['that waits longer', { expiresAt: after(1e6) }],
  ['for another grant', { grantId: aGrantId() }],
  ['for another session', { sessionId: aSessionId() }],
  ['for another run', { runId: 'run_2' as RunId }],
];

/** What no caller that knows the state machines does. */
export const approvalMistakes: Attempt[] = [
  ...changes.map(([what, change]) => ({
    name: `an approval ${what}`,
    stage: (unit: UnitOfWork, { approval }: Given) => decide(unit, { ...decideApproval(approval, aWord('bob')), ...change }),
  })),
  {
    name: 'a denial that is taken back',
    stage: (unit, { approval }) => {
      const word = aWord('alice', { decision: 'deny' });
      decide(unit, decideApproval(approval, word));
      const next: Approval = { ...approval, state: 'approved', decisions: [word], endedAt: after(11) };
      unit.updateApproval({ expected: 'denied', expectedDecisions: 1, next });
    },
  },
  {
    name: 'a grant that asks for something else once it is approved',
    stage: (unit, { grant }) => {
      const next = { ...approveGrant(grant, after(600)), resourceRef: 'github:repo:acme/crown-jewels' };
      unit.updateGrant({ expected: 'pending', next });
    },
  },
  {
    name: 'a grant that was approved by another approval than it waits for',
    stage: (unit, { grant }) =>
      unit.updateGrant({ expected: 'pending', next: { ...approveGrant(grant, after(600)), approvalId: anApprovalId() } }),
  },
  {
    name: 'a pending grant that ends later than it would have',
    stage: (unit, { grant }) => {
      const ended = endGrant(grant, 'denied', after(2), 'no');
      unit.updateGrant({ expected: 'pending', next: { ...ended, expiresAt: after(1e6) } });
    },
  },
];
