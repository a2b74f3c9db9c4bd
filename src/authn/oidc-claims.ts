import type { JWTPayload } from 'jose';
import { unauthorized } from '../domain/errors.ts';

/**
 * The claims that become attributes, under their own names: those of GitHub Actions that say what runs, where and for whom
 * (https://docs.github.com/en/actions/reference/security/oidc), and the client of an ordinary issuer (OpenID Connect Core 1.0
 * section 2, RFC 9068 section 2.2).
 */
const ATTRIBUTE_CLAIMS = [
  'repository',
  'repository_id',
  'repository_owner',
  'repository_owner_id',
  'repository_visibility',
  'ref',
  'ref_protected',
  'sha',
  'workflow',
  'workflow_ref',
  'job_workflow_ref',
  'environment',
  'event_name',
  'actor',
  'actor_id',
  'run_id',
  'run_attempt',
  'runner_environment',
  'azp',
  'client_id',
];

/** GitHub's subjects can be customized to hold many claims. */
const MAX_SUBJECT_LENGTH = 1024;
/** A workflow's reference is owner, repository, path and ref. */
const MAX_ATTRIBUTE_LENGTH = 512;
/** Letters, marks, digits, signs and single spaces inside: nothing that could break out of a log line or hide in one. */
const PRINTABLE = /^[^\p{C}\p{Z}]+(?: [^\p{C}\p{Z}]+)*$/u;

/** The subject of a verified token. Throws `unauthorized` when it is not printable text of bounded length. */
export function readSubject({ sub }: JWTPayload): string {
  if (typeof sub !== 'string' || sub.length > MAX_SUBJECT_LENGTH || !PRINTABLE.test(sub)) {
    throw unauthorized("attestation: token's sub claim is malformed");
  }
  return sub;
}

/**
 * What a verified token says besides. A claim that is no printable text or whole number of bounded length is left out, as if the
 * issuer had not made it: a binding or condition that asks for it is not fulfilled.
 */
export function collectOidcAttributes(payload: JWTPayload): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const name of ATTRIBUTE_CLAIMS) {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined;
    const text = Number.isSafeInteger(value) ? String(value) : value;
    if (typeof text === 'string' && text.length <= MAX_ATTRIBUTE_LENGTH && PRINTABLE.test(text)) attributes[name] = text;
  }
  return attributes;
}
