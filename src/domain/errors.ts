/** What a caller may be told. Transports map each code to a status by one table. */
export type ErrorCode =
  | 'invalid_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'resource_budget_exceeded'
  | 'rate_limited'
  | 'delivery_mode_not_implemented'
  | 'upstream_error'
  | 'unavailable'
  | 'deadline_exceeded'
  | 'internal';

/** Why a refusal was made: a closed set, so that an agent can correct itself. */
export const REFUSAL_REASONS = [
  'workload_not_bound',
  'run_revoked',
  'workload_revoked',
  'session_ended',
  'delegation_not_accepted',
  'delegation_not_yours',
  'capability_not_delegated',
  'resource_not_delegated',
  'tool_not_registered',
  'tool_not_in_context',
  'capability_not_allowed',
  'delivery_mode_not_allowed',
  'policy_missing',
  'resource_kind_mismatch',
  'tool_tags_missing',
  'condition_not_met',
  'condition_failed',
  'proof_required',
  'operation_not_allowed',
  'resource_outside_grant',
  'upstream_refused',
  'connector_busy',
  'connector_paused',
  'upstream_unreachable',
  'relay_mismatch',
  'relay_key_not_trusted',
  'plain_values_not_allowed',
  'role_missing',
  'self_approval',
  'approver_mismatch',
  'approver_not_named',
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface ErrorOptions {
  reason?: RefusalReason;
  rule?: string;
  retryAfterSeconds?: number;
  cause?: unknown;
}

/**
 * The one error the broker throws on purpose. Its message goes to the caller: it says what to change and never holds
 * a secret, a token, SQL, a stack or an upstream's body. `cause` is for the log alone.
 */
export class BrokerError extends Error {
  readonly code: ErrorCode;
  readonly reason: RefusalReason | null;
  /** The configured rule that said no, such as `policy:repo.read`; null where none did. */
  readonly rule: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BrokerError';
    this.code = code;
    this.reason = options.reason ?? null;
    this.rule = options.rule ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

type ErrorConstructor = (message: string, options?: ErrorOptions) => BrokerError;

const withCode =
  (code: ErrorCode): ErrorConstructor =>
  (message, options) =>
    new BrokerError(code, message, options);

export const invalidRequest = withCode('invalid_request');
export const unauthorized = withCode('unauthorized');
export const notFound = withCode('not_found');
export const conflict = withCode('conflict');
export const budgetExceeded = withCode('resource_budget_exceeded');
export const rateLimited = withCode('rate_limited');
export const deliveryModeNotImplemented = withCode('delivery_mode_not_implemented');
export const upstreamError = withCode('upstream_error');
export const unavailable = withCode('unavailable');
export const deadlineExceeded = withCode('deadline_exceeded');

/** A refusal always names its reason and the rule that said no. */
export const forbidden = (reason: RefusalReason, message: string, options: ErrorOptions & { rule: string }): BrokerError =>
  new BrokerError('forbidden', message, { ...options, reason });
