/** What proofs may be signed with (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2), as challenges tell it. */
export const PROOF_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519'] as const;

/** What a caller showed to prove that it holds a key, and what the proof must be about (RFC 9449 section 4). */
export interface PresentedProof {
  /** Every `DPoP` header of the request, as received. */
  proofs: readonly string[];
  method: string;
  /** Where the request went, as the caller sees it: scheme, host and path. */
  url: string;
}

export interface ProofQuestion {
  presented: PresentedProof;
  /** The token or handle that the proof goes with; null where there is none yet. */
  credential: string | null;
}

/** Checks proofs of possession. */
export interface ProofVerifier {
  /**
   * Answers the thumbprint of the key (RFC 7638, SHA-256, base64url) that made a fresh, valid proof. Rejects with `unauthorized`
   * otherwise, a proof that was used before included, and with `unavailable` when uses cannot be recorded.
   */
  verify(question: ProofQuestion): Promise<string>;
}
