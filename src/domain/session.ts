import type { Delegation } from './delegation.ts';
import type { AgentId, RunId, SessionId, TenantId, WorkloadHash } from './ids.ts';
import type { WorkloadIdentity } from './workload.ts';
import { conflict } from './errors.ts';

/** What is fixed when a session opens. */
export interface SessionTerms {
  id: SessionId;
  tenantId: TenantId;
  agentId: AgentId;
  runId: RunId;
  /** The names of the tools this run may use. */
  toolContext: readonly string[];
  workload: WorkloadIdentity;
  workloadHash: WorkloadHash;
  /** `jti` of the one token that speaks for this session. */
  tokenId: string;
  /** What was delegated to this run; null when it acts in its own right. */
  delegation: Delegation | null;
  /** Thumbprint of the key that every use must prove (RFC 7638); null for bearer sessions. */
  proofKeyThumbprint: string | null;
  createdAt: Date;
  expiresAt: Date;
}

export type ActiveSession = SessionTerms & { state: 'active' };
export type EndedSession = SessionTerms & { state: 'revoked' | 'expired'; endedAt: Date; endReason: string };
export type Session = ActiveSession | EndedSession;
export type SessionState = Session['state'];

export const SESSION_TRANSITIONS: Readonly<Record<SessionState, readonly SessionState[]>> = {
  active: ['revoked', 'expired'],
  revoked: [],
  expired: [],
};

/** Ends a session. Throws `conflict` when it has ended before. */
export function endSession(session: Session, state: EndedSession['state'], endedAt: Date, endReason: string): EndedSession {
  if (!SESSION_TRANSITIONS[session.state].includes(state)) {
    throw conflict(`session is already ${session.state}`);
  }
  return { ...session, state, endedAt, endReason };
}

/** Whether the session still speaks at this moment: active, and its time is not up. */
export function isSessionLive(session: Session, now: Date): session is ActiveSession {
  return session.state === 'active' && now < session.expiresAt;
}
