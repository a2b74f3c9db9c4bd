import { errors } from 'jose';

/**
 * What the log may keep of a refused token. jose's own errors carry the whole claims set, and text the caller chose.
 * Whatever jose did not throw on purpose comes back as it is.
 */
export function loggableCause(error: unknown): unknown {
  if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
    return new Error(`${error.code}: ${error.claim} ${error.reason}`);
  }
  return error instanceof errors.JOSEError ? new Error(error.code) : error;
}
