import type { Attestation, VerifiedWorkload } from './workload.ts';

/** Turns a presented attestation into an identity. */
export interface AttestationVerifier {
  /**
   * Rejects with `unauthorized` when the attestation is not valid or its kind is not accepted here,
   * with `unavailable` when the keys to check it cannot be had.
   */
  verify(attestation: Attestation): Promise<VerifiedWorkload>;
}
