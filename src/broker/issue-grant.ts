import type { IssuedSecret } from '../domain/artifact.ts';
import type { CallContext } from '../domain/call-context.ts';
import type { ConnectorResolver, FormConnector, LeaseConnector } from '../domain/connector.ts';
import type { Deliveries, Delivery } from '../domain/delivery.ts';
import { deliveryModeNotImplemented } from '../domain/errors.ts';
import { type ApprovedGrant, type DeliveryMode, issueGrant, type LiveGrant } from '../domain/grant.ts';
import type { Policy } from '../domain/policy.ts';
import type { ResourceRef } from '../domain/resource.ts';
import type { BlockQuestion, UnitOfWork } from '../domain/unit-of-work.ts';
import { type AuditDeps, auditEvent, grantSubject } from './audit-trail.ts';
import { formIssue } from './issue-form.ts';
import { leaseIssue } from './issue-lease.ts';

export interface IssueGrantDeps extends AuditDeps {
  connectors: ConnectorResolver;
  deliveries: Deliveries;
}

/** How a grant reaches its user, with whom that takes. */
export type Way =
  | { mode: 'proxy' }
  /** What is kept for a form to be filled with. */
  | { mode: 'wrapped_secret'; forms: FormConnector }
  | {
      mode: 'wrapped_secret' | 'minted_token';
      leases: LeaseConnector;
      /** What a minted token may do; null leaves that to the connector. */
      permissions: Policy['permissions'];
    };

/** What is issued: with what it delivers, or with a token that is yet to be given out. */
export type Issued = { grant: LiveGrant; delivery: Delivery } | { grant: LiveGrant; delivery: null; artifact: IssuedSecret };

/** The issue of one grant. */
export interface Issue {
  /** Stages what commits together with the grant's approval. Nothing has happened until that. */
  stage(unit: UnitOfWork): void;
  /**
   * Does the rest, once it has committed. Rejects with what the connector said; with `conflict` or `forbidden` when the grant was
   * ended meanwhile; and with `unavailable`. Whatever was made downstream by then is on its way to be revoked.
   */
  finish(): Promise<Issued>;
}

/** How a capability on a resource is delivered. Throws `delivery_mode_not_implemented` when nothing here does. */
export function wayOf(
  { connectors }: Pick<IssueGrantDeps, 'connectors'>,
  capability: string,
  resource: ResourceRef,
  mode: DeliveryMode,
  permissions: Policy['permissions'],
): Way {
  if (connectors.resolve(capability, resource.kind)?.deliveryModes.includes(mode)) {
    if (mode === 'proxy') return { mode };
    const forms = mode === 'wrapped_secret' ? connectors.resolveForm(capability, resource.kind) : null;
    if (forms !== null) return { mode: 'wrapped_secret', forms };
    const leases = connectors.resolveLease(capability, resource.kind);
    if (leases !== null) return { mode, leases, permissions };
  }
  throw deliveryModeNotImplemented(`delivery_mode: nothing here delivers ${capability} as ${mode}`);
}

/** Issues what was decided, for a session that no operator has stopped. */
export function issue(
  deps: IssueGrantDeps,
  context: Pick<CallContext, 'requestId'>,
  approved: ApprovedGrant,
  session: BlockQuestion,
  way: Way,
): Issue {
  if (way.mode === 'proxy') return proxyIssue(deps, context, approved);
  if ('forms' in way) return formIssue(deps, context, approved, session, way.forms);
  return leaseIssue(deps, context, approved, session, way);
}

/** A handle needs nothing from downstream, so it is issued in the unit that approves it. */
function proxyIssue(deps: IssueGrantDeps, context: Pick<CallContext, 'requestId'>, approved: ApprovedGrant): Issue {
  const now = deps.clock.now();
  const { artifact, delivery } = deps.deliveries.proxy.issue(approved, now);
  const grant = issueGrant(approved, artifact.id, now);
  const subject = { ...grantSubject(approved), artifactId: artifact.id };
  return {
    stage(unit) {
      unit.insertArtifact(artifact);
      unit.record(auditEvent(deps, context, 'artifact.issued', subject));
      unit.updateGrant({ expected: 'approved', next: grant });
      unit.record(auditEvent(deps, context, 'grant.issued', subject));
    },
    finish: () => Promise.resolve({ grant, delivery }),
  };
}
