import {
  BrokerError,
  deadlineExceeded,
  type ErrorOptions,
  forbidden,
  invalidRequest,
  notFound,
  rateLimited,
  upstreamError,
} from '../../domain/errors.ts';
import { VaultRefusal, VaultSilence } from './vault-client.ts';

/** What was asked of Vault, in words for the caller. */
export interface AskedOfVault {
  /** `the database role app_ro`. */
  what: string;
  /** What Vault's policy must let ASB do, for the operator: `read on database/creds/app_ro`. */
  needs: string;
}

const RATE_LIMIT_WAIT_SECONDS = 1;

/** What a failure at Vault means to the caller. Neither message nor cause holds anything that Vault said. */
export function errorFromVault(failure: unknown, { what, needs }: AskedOfVault): BrokerError {
  if (failure instanceof BrokerError) return failure;
  const options: ErrorOptions = failure instanceof Error ? { cause: failure } : {};
  if (!(failure instanceof VaultRefusal)) {
    const wasAsked = !(failure instanceof VaultSilence) || failure.wasAsked;
    return upstreamError('Vault could not be reached, or its answer could not be read; retry later', {
      ...options,
      ...(!wasAsked && { reason: 'upstream_unreachable' }),
    });
  }
  switch (failure.status) {
    case 400:
      return invalidRequest(`Vault does not accept the request for ${what}; tell the operator`, options);
    case 403:
      return forbidden(
        'upstream_refused',
        `Vault refuses ${what} to ASB, whose policy must allow ${needs}; tell the operator`,
        {
          ...options,
          rule: 'upstream:vault',
        },
      );
    case 404:
      return notFound(`Vault does not have ${what}`, options);
    case 429:
      return rateLimited('Vault takes no more requests just now; retry later', {
        ...options,
        retryAfterSeconds: RATE_LIMIT_WAIT_SECONDS,
      });
    case 503:
      return upstreamError('Vault is sealed or down for maintenance; retry later', {
        ...options,
        reason: 'upstream_unreachable',
      });
    default:
      return upstreamError(`Vault failed with status ${failure.status}; retry later`, options);
  }
}

/** The signal's reason, for what Vault left unanswered until then. */
export const lateError = (signal: AbortSignal): BrokerError =>
  signal.reason instanceof BrokerError ? signal.reason : deadlineExceeded('Vault did not answer in time');
