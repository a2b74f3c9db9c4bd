import type { AttestationVerifier } from '../domain/attestation-verifier.ts';
import { unauthorized } from '../domain/errors.ts';
import { ATTESTATION_KINDS, type AttestationKind } from '../domain/workload.ts';

/**
 * Hands each attestation to the verifier of its kind. Rejects with `unauthorized` for a kind that is not
 * configured: it proves nothing here, and goes on record like any attestation that failed.
 * Throws when none is: such a broker could let nobody in.
 */
export function makeAttestationVerifier(
  byKind: Readonly<Partial<Record<AttestationKind, AttestationVerifier>>>,
): AttestationVerifier {
  const accepted = ATTESTATION_KINDS.filter((kind) => byKind[kind] !== undefined);
  if (accepted.length === 0) throw new Error('no kind of attestation is configured');
  return {
    async verify(attestation) {
      const verifier = accepted.includes(attestation.kind) ? byKind[attestation.kind] : undefined;
      if (verifier === undefined) throw unauthorized(`attestation.kind: use ${accepted.join(' or ')}`);
      return verifier.verify(attestation);
    },
  };
}
