import type { CallContext } from '../domain/call-context.ts';
import type { FormConnector } from '../domain/connector.ts';
import { conflict } from '../domain/errors.ts';
import { type ApprovedGrant, endGrant, issueGrant } from '../domain/grant.ts';
import { parseResourceRef } from '../domain/resource.ts';
import type { BlockQuestion } from '../domain/unit-of-work.ts';
import { auditEvent, grantSubject } from './audit-trail.ts';
import { unlessAway } from './best-effort.ts';
import { stageEndedGrant } from './end-grant.ts';
import { endedGrantEvents } from './ended-grant-events.ts';
import type { Issue, Issued, IssueGrantDeps } from './issue-grant.ts';
import { COULD_NOT_BE_ISSUED, ISSUE_TIMEOUT_SECONDS } from './issue-lease.ts';
import { isConflict, unlessLost } from './lost-race.ts';
import { withinTime } from './within-time.ts';

/**
 * Seals what a form is to be filled with. Nothing is made downstream, so a crash leaves nothing behind but a grant that is approved
 * and runs out.
 */
export function formIssue(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
  session: BlockQuestion,
  connector: FormConnector,
): Issue {
  return {
    stage: () => undefined,
    async finish() {
      try {
        return await seal(deps, context, approved, session, connector);
      } catch (error) {
        await comeToNothing(deps, context, approved);
        throw isConflict(error) ? conflict('the grant was ended while it was being issued; request a new one') : error;
      }
    },
  };
}

async function seal(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
  session: BlockQuestion,
  connector: FormConnector,
): Promise<Issued> {
  const resource = parseResourceRef(approved.resourceRef);
  const late = `${connector.name} did not answer within ${ISSUE_TIMEOUT_SECONDS} seconds`;
  const fields = await withinTime(deps.clock, ISSUE_TIMEOUT_SECONDS, late, (signal) =>
    connector.readFields({ resource, signal }),
  );
  const now = deps.clock.now();
  const artifact = await deps.deliveries.secret.wrap(approved, { fields, expiresAt: approved.expiresAt }, now);
  const grant = issueGrant(approved, artifact.id, now);
  const subject = { ...grantSubject(grant), artifactId: artifact.id };
  await deps.repository.transact((unit) => {
    unit.requireNoBlock(session);
    unit.insertArtifact(artifact);
    unit.record(auditEvent(deps, context, 'artifact.issued', subject));
    unit.updateGrant({ expected: 'approved', next: grant });
    unit.record(auditEvent(deps, context, 'grant.issued', subject));
  });
  return { grant, delivery: { kind: 'wrapped_secret', artifactId: artifact.id } };
}

/** Ends a grant that could not be issued. What somebody else has ended, or what cannot be written, is left to them and to the worker. */
async function comeToNothing(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
): Promise<void> {
  const ended = endGrant(approved, 'expired', deps.clock.now(), COULD_NOT_BE_ISSUED);
  await unlessAway(
    unlessLost(deps, (unit) =>
      stageEndedGrant(unit, { grant: approved, artifact: null, approval: null }, ended, endedGrantEvents(deps, context)),
    ),
  );
}
