import type { RunId, TenantId, WorkloadHash } from './ids.ts';

/** An operator's word that a run, or a workload in a tenant, gets nothing any more. */
export type Block = {
  tenantId: TenantId;
  reason: string;
  createdAt: Date;
  /** When it may be forgotten: nothing that it stops can be asked for any more. */
  expiresAt: Date;
} & ({ kind: 'run'; runId: RunId } | { kind: 'workload'; workloadHash: WorkloadHash });
