import type { WorkloadHash } from './ids.ts';

export const ATTESTATION_KINDS = ['k8s_sa_jwt', 'oidc_jwt'] as const;
export type AttestationKind = (typeof ATTESTATION_KINDS)[number];

/** A workload's proof of identity, as it was presented. */
export interface Attestation {
  kind: AttestationKind;
  token: string;
}

/** Who is calling, normalized from a verified attestation. */
export interface WorkloadIdentity {
  type: 'k8s_sa' | 'oidc';
  issuer: string;
  subject: string;
  audience: string;
  /** Kubernetes namespace and service account; null for other identities. */
  namespace: string | null;
  serviceAccount: string | null;
  /** Verified details such as `pod_name`, `pod_uid`, `node_name`. */
  attributes: Readonly<Record<string, string>>;
}

export interface VerifiedWorkload {
  identity: WorkloadIdentity;
  hash: WorkloadHash;
  /** When the attestation itself runs out; no session outlives it. */
  expiresAt: Date;
}
