import type { CallContext } from '../domain/call-context.ts';
import type { ConnectorResolver } from '../domain/connector.ts';
import type { Delivery, DeliveryAdapter } from '../domain/delivery.ts';
import { deliveryModeNotImplemented } from '../domain/errors.ts';
import { type ApprovedGrant, type DeliveryMode, issueGrant, type LiveGrant } from '../domain/grant.ts';
import type { ResourceRef } from '../domain/resource.ts';
import type { UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, grantSubject } from './audit-trail.ts';

export interface IssueGrantDeps extends AuditDeps {
  connectors: ConnectorResolver;
  deliveries: readonly DeliveryAdapter[];
}

/** What is issued, and how it is put on record together with the grant's approval. */
export interface Issue {
  grant: LiveGrant;
  delivery: Delivery;
  /** Stages the artifact and the grant's way from `approved` to `issued`. */
  stage(unit: UnitOfWork): void;
}

/** The adapter that delivers a capability on a resource. Throws `delivery_mode_not_implemented` when nothing here does. */
export function adapterFor(
  deps: Pick<IssueGrantDeps, 'connectors' | 'deliveries'>,
  capability: string,
  resource: ResourceRef,
  mode: DeliveryMode,
): DeliveryAdapter {
  const connector = deps.connectors.resolve(capability, resource.kind);
  const adapter = deps.deliveries.find((candidate) => candidate.mode === mode);
  if (connector === null || adapter === undefined || !connector.deliveryModes.includes(mode)) {
    throw deliveryModeNotImplemented(`delivery_mode: nothing here delivers ${capability} as ${mode}`);
  }
  return adapter;
}

/** Issues what was decided. Nothing has happened until the unit that it is staged in commits. */
export function issue(deps: IssueGrantDeps, context: CallContext, approved: ApprovedGrant, adapter: DeliveryAdapter): Issue {
  const now = deps.clock.now();
  const { artifact, delivery } = adapter.issue(approved, now);
  const grant = issueGrant(approved, artifact.id, now);
  const subject = { ...grantSubject(approved), artifactId: artifact.id };
  return {
    grant,
    delivery,
    stage(unit) {
      unit.insertArtifact(artifact);
      unit.record(auditEvent(deps, context, 'artifact.issued', subject));
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.record(auditEvent(deps, context, 'grant.issued', subject));
    },
  };
}
