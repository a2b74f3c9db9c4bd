import { endArtifact } from '../../src/domain/artifact.ts';
import { endGrant, issueGrant } from '../../src/domain/grant.ts';
import { endSession } from '../../src/domain/session.ts';
import type { UnitOfWork } from '../../src/domain/unit-of-work.ts';
import {
  aDelegation,
  aGrant,
  aGrantId,
  aHandleHash,
  anApprovalId,
  anArtifact,
  anArtifactId,
  aSession,
  aSessionId,
  after,
  OTHER_TENANT,
} from '../support/entities.ts';
import type { givenIssuedGrant } from './repository-under-test.ts';

type Given = Awaited<ReturnType<typeof givenIssuedGrant>>;
interface Attempt {
  name: string;
  stage: (unit: UnitOfWork, given: Given) => void;
}

/** Lost races and rows that are not there. */
export const conflicts: Attempt[] = [
  { name: 'a session id is taken', stage: (unit, { session }) => unit.insertSession(aSession({ id: session.id })) },
  {
    name: 'a session id is taken by another tenant',
    stage: (unit, { session }) => unit.insertSession(aSession({ id: session.id, tenantId: OTHER_TENANT })),
  },
  { name: 'a grant id is taken', stage: (unit, { session, grant }) => unit.insertGrant(aGrant(session, { id: grant.id })) },
  { name: 'an artifact id is taken', stage: (unit, { artifact }) => withGrant(unit, { id: artifact.id }) },
  { name: 'a handle is taken', stage: (unit, { artifact }) => withGrant(unit, { handleHash: artifact.handleHash }) },
  {
    name: 'a handle is taken within the unit',
    stage: (unit) => {
      const handleHash = aHandleHash();
      withGrant(unit, { handleHash });
      withGrant(unit, { handleHash });
    },
  },
  {
    name: 'a grant has its artifact already',
    stage: (unit, { grant }) => unit.insertArtifact(anArtifact(grant, { id: anArtifactId() })),
  },
  { name: 'an artifact has no grant', stage: (unit, { session }) => unit.insertArtifact(anArtifact(aGrant(session))) },
  { name: 'a grant has no session', stage: (unit) => unit.insertGrant(aGrant(aSession())) },
  {
    name: "a grant is for another tenant's session",
    stage: (unit, { session }) => unit.insertGrant(aGrant(session, { tenantId: OTHER_TENANT })),
  },
  {
    name: "an artifact is for another tenant's grant",
    stage: (unit, { session }) => {
      const grant = aGrant(session);
      unit.insertGrant(grant);
      unit.insertArtifact(anArtifact(grant, { tenantId: OTHER_TENANT }));
    },
  },
  {
    name: "an artifact is for another session's grant",
    stage: (unit, { session }) => {
      const grant = aGrant(session);
      unit.insertGrant(grant);
      unit.insertArtifact(anArtifact(grant, { sessionId: aSessionId() }));
    },
  },
  {
    name: 'a grant comes after its session ended in the same unit',
    stage: (unit, { session }) => {
      unit.updateSession({ expected: 'active', next: endSession(session, 'revoked', after(2), 'stop') });
      unit.insertGrant(aGrant(session));
    },
  },
  {
    name: 'an artifact comes after its grant ended in the same unit',
    stage: (unit, { session }) => {
      const grant = aGrant(session);
      unit.insertGrant(grant);
      unit.updateGrant({ expected: 'approved', next: endGrant(grant, 'expired', after(2), 'late') });
      unit.insertArtifact(anArtifact(grant));
    },
  },
  {
    name: 'a grant is in another state',
    stage: (unit, { approved }) =>
      unit.updateGrant({ expected: 'approved', next: endGrant(approved, 'revoked', after(2), 'late') }),
  },
  {
    name: 'a session to change is not there',
    stage: (unit) => unit.updateSession({ expected: 'active', next: endSession(aSession(), 'revoked', after(2), 'stop') }),
  },
  {
    name: 'a grant to change is not there',
    stage: (unit, { grant }) =>
      unit.updateGrant({ expected: 'issued', next: endGrant({ ...grant, id: aGrantId() }, 'revoked', after(2), 'stop') }),
  },
  {
    name: 'an artifact to change is not there',
    stage: (unit, { artifact }) =>
      unit.updateArtifact({
        expected: 'issued',
        next: endArtifact({ ...artifact, id: anArtifactId() }, 'revoked', after(2)),
      }),
  },
  {
    name: "a session to change is another tenant's",
    stage: (unit, { session }) =>
      unit.updateSession({
        expected: 'active',
        next: { ...endSession(session, 'revoked', after(2), 'x'), tenantId: OTHER_TENANT },
      }),
  },
  {
    name: "a grant to change is another tenant's",
    stage: (unit, { grant }) =>
      unit.updateGrant({
        expected: 'issued',
        next: { ...endGrant(grant, 'revoked', after(2), 'x'), tenantId: OTHER_TENANT },
      }),
  },
  {
    name: "an artifact to change is another tenant's",
    stage: (unit, { artifact }) =>
      unit.updateArtifact({
        expected: 'issued',
        next: { ...endArtifact(artifact, 'used', after(2)), tenantId: OTHER_TENANT },
      }),
  },
];

/** A second session and grant with an artifact of which one thing is given. */
function withGrant(unit: UnitOfWork, overrides: Parameters<typeof anArtifact>[1]): void {
  const session = aSession();
  const grant = aGrant(session);
  unit.insertSession(session);
  unit.insertGrant(grant);
  unit.insertArtifact(anArtifact(grant, overrides));
}

/** What no caller that knows the state machines does. */
export const mistakes: Attempt[] = [
  {
    name: 'a transition that is not drawn',
    stage: (unit, { grant }) =>
      unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'denied', endedAt: after(2), endReason: 'late' } }),
  },
  {
    name: 'a grant moved to another session',
    stage: (unit, { grant }) =>
      unit.updateGrant({
        expected: 'issued',
        next: { ...endGrant(grant, 'revoked', after(2), 'x'), sessionId: aSessionId() },
      }),
  },
  {
    name: 'a grant on another resource',
    stage: (unit, { grant }) =>
      unit.updateGrant({
        expected: 'issued',
        next: { ...grant, state: 'used', resourceRef: 'github:repo:acme/crown-jewels' },
      }),
  },
  {
    name: 'a grant that lives longer',
    stage: (unit, { grant }) =>
      unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used', expiresAt: after(1e6) } }),
  },
  ...(
    [
      ['a longer lifetime to come', { ttlSeconds: 1e6 }],
      ['another request id', { requestId: 'req_2' }],
      ['another request', { requestHash: 'c'.repeat(64) }],
      ['an approval that it never had', { approvalId: anApprovalId() }],
    ] as const
  ).map(([what, change]) => ({
    name: `a grant with ${what}`,
    stage: (unit: UnitOfWork, { grant }: Given) =>
      unit.updateGrant({ expected: 'issued', next: { ...grant, state: 'used', ...change } }),
  })),
  {
    name: 'a grant that lives longer once it is issued',
    stage: (unit, { session }) => {
      const approved = aGrant(session);
      unit.insertGrant(approved);
      const next = issueGrant({ ...approved, expiresAt: after(1e6) }, anArtifactId(), after(1));
      unit.updateGrant({ expected: 'approved', next });
    },
  },
  {
    name: 'an artifact with another handle',
    stage: (unit, { artifact }) =>
      unit.updateArtifact({
        expected: 'issued',
        next: { ...artifact, state: 'used', endedAt: after(2), handleHash: aHandleHash() },
      }),
  },
  {
    name: 'a session with more tools',
    stage: (unit, { session }) =>
      unit.updateSession({
        expected: 'active',
        next: { ...endSession(session, 'revoked', after(2), 'x'), toolContext: ['all'] },
      }),
  },
  {
    name: 'a session with a delegation that it never had',
    stage: (unit, { session }) =>
      unit.updateSession({
        expected: 'active',
        next: { ...endSession(session, 'revoked', after(2), 'x'), delegation: aDelegation() },
      }),
  },
  {
    name: 'a session bound to another key',
    stage: (unit, { session }) =>
      unit.updateSession({
        expected: 'active',
        next: { ...endSession(session, 'revoked', after(2), 'x'), proofKeyThumbprint: 'k' },
      }),
  },
];
