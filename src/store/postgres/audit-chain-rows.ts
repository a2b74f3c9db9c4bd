import { z } from 'zod';
import type { ChainHash, ChainLink, RecordedEvent, SealedEvent, StoredCheckpoint } from '../../domain/audit-chain.ts';
import type { TenantId } from '../../domain/ids.ts';

const text = z.string().nullable();
const link = { seq: z.string(), hash: z.string().nullable() };

export const LinkRow = z.object(link);
export const TenantRow = z.object({ tenant_id: z.string() });
export const CountRow = z.object({ count: z.coerce.number() });
export const CheckpointRow = z.object({ ...TenantRow.shape, ...link, signed_at_ms: z.string(), jws: z.string() });

const EventRow = z.object({
  id: z.string(),
  at_ms: z.string(),
  type: text,
  request_id: text,
  tenant_id: text,
  agent_id: text,
  run_id: text,
  workload_hash: text,
  session_id: text,
  grant_id: text,
  artifact_id: text,
  approval_id: text,
  code: text,
  reason: text,
  revision: text,
  details: z.unknown(),
});
export const SealedEventRow = EventRow.extend(link);
export const UnsealedEventRow = EventRow.extend({ place: z.string() });

export const toTenantId = (row: z.infer<typeof TenantRow>): TenantId => row.tenant_id as TenantId;

export const toLink = (row: z.infer<typeof LinkRow>): ChainLink => ({
  seq: Number(row.seq),
  // A hash that somebody took away fits nothing.
  hash: (row.hash ?? '') as ChainHash,
});

export const toCheckpoint = (row: z.infer<typeof CheckpointRow>): StoredCheckpoint => ({
  ...toLink(row),
  tenantId: toTenantId(row),
  signedAt: toInstant(row.signed_at_ms),
  jws: row.jws,
});

export const toSealedEvent = (row: z.infer<typeof SealedEventRow>): SealedEvent => ({ ...toLink(row), event: toEvent(row) });

/** SQL has no undefined, and an event no null. */
export const toEvent = (row: z.infer<typeof EventRow>): RecordedEvent => ({
  id: row.id,
  at: toInstant(row.at_ms),
  type: row.type ?? undefined,
  requestId: row.request_id ?? undefined,
  subject: {
    tenantId: row.tenant_id ?? undefined,
    agentId: row.agent_id ?? undefined,
    runId: row.run_id ?? undefined,
    workloadHash: row.workload_hash ?? undefined,
    sessionId: row.session_id ?? undefined,
    grantId: row.grant_id ?? undefined,
    artifactId: row.artifact_id ?? undefined,
    approvalId: row.approval_id ?? undefined,
  },
  code: row.code ?? undefined,
  reason: row.reason ?? undefined,
  revision: row.revision ?? undefined,
  details: row.details ?? undefined,
});

const WHOLE_MILLISECONDS = /^-?\d+(?:\.0+)?$/;

/** RFC 3339 for a moment such as the broker writes; for any other what the database says, so that no two look alike. */
function toInstant(milliseconds: string): string {
  const instant = new Date(WHOLE_MILLISECONDS.test(milliseconds) ? Number(milliseconds) : NaN);
  return Number.isNaN(instant.getTime()) ? `${milliseconds} ms` : instant.toISOString();
}
