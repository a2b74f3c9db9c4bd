import type { FastifyRequest } from 'fastify';
import type { BrokerError } from '../domain/errors.ts';
import { PROOF_ALGORITHMS } from '../domain/proof.ts';
import { CALLS } from './calls.ts';
import { presentedToken } from './presented-token.ts';

const TAKES_TOKEN = new Set(CALLS.filter((call) => call.tokens.length > 0).map((call) => call.name));
const ALGORITHMS = `algs="${PROOF_ALGORITHMS.join(' ')}"`;

/** Messages begin with what they are about, and this is the header of a proof. */
const isAboutProof = (told: BrokerError): boolean => told.message.startsWith('DPoP:');

/**
 * The `WWW-Authenticate` of a 401: of RFC 9449 section 7.1 where a proof was missing or not good, of RFC 6750 section 3 where a token
 * was. Null for other errors and for calls that take no token.
 */
export function challengeOf(told: BrokerError, call: string, headers: FastifyRequest['headers']): string | null {
  if (told.code !== 'unauthorized') return null;
  if (isAboutProof(told))
    return headers.dpop === undefined ? `DPoP ${ALGORITHMS}` : `DPoP error="invalid_dpop_proof", ${ALGORITHMS}`;
  if (!TAKES_TOKEN.has(call)) return null;
  return presentedToken(headers.authorization) === null ? 'Bearer' : 'Bearer error="invalid_token"';
}
