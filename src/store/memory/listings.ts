import type { Approval } from '../../domain/approval.ts';
import type { Grant } from '../../domain/grant.ts';
import type { SessionId, TenantId } from '../../domain/ids.ts';
import type {
  ApprovalFilter,
  GrantFilter,
  Page,
  PageRequest,
  RevocationFilter,
  SessionFilter,
} from '../../domain/repository.ts';
import type { Revocation } from '../../domain/revocation.ts';
import type { Session } from '../../domain/session.ts';
import { readCursor, takePage } from './page.ts';
import type { Tables } from './tables.ts';

/** A tenant's sessions that pass the filter, newest first. */
export function listSessions(
  tables: Tables,
  tenantId: TenantId,
  filter: SessionFilter,
  { limit, after }: PageRequest,
): Page<Session> {
  const rows = tables.sessionsNewestFirst(tenantId, filter, readCursor(after, 'sess_'));
  const matches = (session: Session): boolean => hasAll(session, filter);
  return takePage(rows, matches, limit);
}

/** A tenant's grants that pass the filter, newest first. Those of one session cost what that session has. */
export function listGrants(
  tables: Tables,
  tenantId: TenantId,
  filter: GrantFilter,
  { limit, after }: PageRequest,
): Page<Grant> {
  const cursor = readCursor(after, 'gr_');
  if (!isOwnSession(tables, tenantId, filter.sessionId)) return NOTHING;
  const rows = tables.grantsNewestFirst(tenantId, filter.sessionId, cursor);
  return takePage(rows, (grant) => grant.tenantId === tenantId && hasAll(grant, filter), limit);
}

/** The same for approvals. */
export function listApprovals(
  tables: Tables,
  tenantId: TenantId,
  filter: ApprovalFilter,
  { limit, after }: PageRequest,
): Page<Approval> {
  const cursor = readCursor(after, 'ap_');
  if (!isOwnSession(tables, tenantId, filter.sessionId)) return NOTHING;
  const rows = tables.approvalsNewestFirst(tenantId, filter.sessionId, cursor);
  return takePage(rows, (approval) => approval.tenantId === tenantId && hasAll(approval, filter), limit);
}

/** A tenant's revocations that pass the filter, newest first. */
export function listRevocations(
  tables: Tables,
  tenantId: TenantId,
  filter: RevocationFilter,
  { limit, after }: PageRequest,
): Page<Revocation> {
  const rows = tables.revocations.newestFirst(tenantId, filter.grantId, readCursor(after, 'rev_'));
  return takePage(rows, (revocation) => hasAll(revocation, filter), limit);
}

const NOTHING = { rows: [], next: null };

/** Another tenant's session answers as an unknown one, also in time and in cursors. */
function isOwnSession(tables: Tables, tenantId: TenantId, sessionId: SessionId | undefined): boolean {
  return sessionId === undefined || tables.session(sessionId)?.tenantId === tenantId;
}

/** Whether a row has every value that a filter names. */
function hasAll<Filter extends object>(row: Required<Filter>, filter: Filter): boolean {
  for (const name in filter) {
    if (filter[name] !== undefined && row[name] !== filter[name]) return false;
  }
  return true;
}
