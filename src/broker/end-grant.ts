import { type Approval, expireApproval } from '../domain/approval.ts';
import { type Artifact, endArtifact } from '../domain/artifact.ts';
import type { EndedGrant, Grant } from '../domain/grant.ts';
import type { EndGrantsOfSession, UnitOfWork } from '../domain/unit-of-work.ts';

/** A grant, with what was issued for it and who is asked about it, as the store had them. */
export interface GrantToEnd {
  grant: Grant;
  artifact: Artifact | null;
  approval: Approval | null;
}

/** Stages the end of a grant together with its issued artifact, its pending approval and its lease, and puts it on record. */
export function stageEndedGrant(
  unit: UnitOfWork,
  { grant, artifact, approval }: GrantToEnd,
  ended: EndedGrant,
  events: EndGrantsOfSession['events'],
): void {
  const { endedAt } = ended;
  const artifactState = ended.state === 'revoked' ? 'revoked' : 'expired';
  const endedArtifact = artifact?.state === 'issued' ? endArtifact(artifact, artifactState, endedAt) : null;
  const endedApproval = approval?.state === 'pending' ? expireApproval(approval, endedAt) : null;
  unit.updateGrant({ expected: grant.state, next: ended });
  if (endedArtifact !== null) unit.updateArtifact({ expected: 'issued', next: endedArtifact });
  if (approval !== null && endedApproval !== null) {
    const expectedDecisions = approval.decisions.length;
    unit.updateApproval({ expected: 'pending', expectedDecisions, next: endedApproval });
  }
  // A handle has no lease.
  if (grant.deliveryMode !== 'proxy') {
    unit.makeRevocationDue({ tenantId: grant.tenantId, grantId: grant.id, at: endedAt });
  }
  for (const event of events(ended, endedArtifact, endedApproval)) unit.record(event);
}
