import type { RecordedEvent } from '../domain/audit-chain.ts';

/** An event's fields under the names that it has wherever it is written. What it does not have is undefined. */
export const eventJson = (event: Omit<RecordedEvent, 'at'>, at: string) => ({
  id: event.id,
  at,
  type: event.type,
  request_id: event.requestId,
  tenant_id: event.subject.tenantId,
  agent_id: event.subject.agentId,
  run_id: event.subject.runId,
  workload_hash: event.subject.workloadHash,
  session_id: event.subject.sessionId,
  grant_id: event.subject.grantId,
  artifact_id: event.subject.artifactId,
  approval_id: event.subject.approvalId,
  code: event.code,
  reason: event.reason,
  revision: event.revision,
  details: event.details,
});

/**
 * What JSON leaves as it is and a reader may break a line at or a terminal act upon: C1 controls (NEL and CSI among them),
 * the Unicode line separators, and the bidirectional controls of UAX #9.
 */
const UNSAFE_IN_A_LINE = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

const escapeCharacter = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** JSON on a line of its own, the line feed included, that stays one and does nothing to a terminal. */
export const jsonLine = (value: object): string => `${JSON.stringify(value).replace(UNSAFE_IN_A_LINE, escapeCharacter)}\n`;
