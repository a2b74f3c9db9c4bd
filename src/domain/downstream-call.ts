import type { AuditSubject } from './audit-event.ts';
import type { CallId } from './ids.ts';

/** What is done downstream: a proxied operation, the issue of a lease, its revocation. */
export const DOWNSTREAM_CALL_KINDS = ['proxy', 'lease', 'revocation'] as const;
export type DownstreamCallKind = (typeof DOWNSTREAM_CALL_KINDS)[number];

/**
 * A call to a downstream system. It is on record before it is made and until its outcome is; one whose maker died stays behind,
 * and tells that its outcome is unknown.
 */
export interface DownstreamCall {
  /** Names the concurrency slot of a proxied call as well. */
  id: CallId;
  kind: DownstreamCallKind;
  /** Whom and what its events are about. A proxied call names its artifact, the others their grant. */
  subject: AuditSubject;
  /** The request, or the pass of a worker, that makes it. */
  requestId: string;
  startedAt: Date;
  /** It is over by then, whatever came of it; a proxied call's slot lapses. */
  deadline: Date;
}
