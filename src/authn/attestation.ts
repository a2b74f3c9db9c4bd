import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import { unauthorized } from '../domain/errors.ts';
import { ATTESTATION_KINDS, type AttestationKind } from '../domain/workload.ts';
import { namedIssuer, requireDistinctIssuers } from './issuer-choice.ts';

/** Verifies what one issuer attests. Whatever another has signed or claims to be is refused. */
export interface AttestationIssuer extends AttestationVerifier {
  readonly kind: AttestationKind;
  /** The only `iss` it accepts. */
  readonly issuer: string;
}

/**
 * Hands each attestation to the issuer it names, among those of its kind. Rejects with `unauthorized` for a kind that is not
 * configured: it proves nothing here, and goes on record like any attestation that failed.
 * Throws when no issuer is configured, which could let nobody in, and when one is twice.
 */
export function makeAttestationVerifier(issuers: readonly AttestationIssuer[]): AttestationVerifier {
  const byKind = Map.groupBy(issuers, ({ kind }) => kind);
  byKind.forEach((ofKind, kind) => requireDistinctIssuers(ofKind, `attestations of kind ${kind}`));
  const accepted = ATTESTATION_KINDS.filter((kind) => byKind.has(kind));
  if (accepted.length === 0) throw new Error('no kind of attestation is configured');
  return {
    async verify(attestation) {
      const verifier = namedIssuer(byKind.get(attestation.kind) ?? [], attestation.token);
      if (verifier === undefined) throw unauthorized(`attestation.kind: use ${accepted.join(' or ')}`);
      return verifier.verify(attestation);
    },
  };
}
