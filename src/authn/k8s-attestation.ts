import type { Clock } from '../domain/clock.ts';
import type { AttestationIssuer } from './attestation.ts';
import { identifyServiceAccount } from './k8s-claims.ts';
import type { KeySource } from './key-source.ts';
import { makeKnownWorkloads } from './known-workloads.ts';
import { RememberedJwts } from './remembered-jwts.ts';
import { type JwtRules, requireSoundRules, verifySignedJwt } from './signed-jwt.ts';
import type { TokenReview } from './token-review.ts';

export interface K8sAttestationConfig {
  /** The `iss` of the cluster's tokens, as `--service-account-issuer` gives it. */
  issuer: string;
  /** The `aud` that a token must have been projected for. */
  audience: string;
  keys: KeySource;
  clock: Clock;
  /** How far the cluster's clock may be from ours, in seconds. */
  maxSkewSeconds?: number;
  /** Asks the cluster whether the token's pod is still there; null relies on the signature alone. */
  review: TokenReview | null;
}

/**
 * Verifies Kubernetes service account tokens: signature, issuer, audience, time and the shape of the claims
 * (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens).
 * A token without `exp` is refused: a session never outlives its attestation, so that attestation has to end.
 *
 * Throws an Error when the configuration would let nobody in, or too many.
 */
export function makeK8sAttestation(config: K8sAttestationConfig): AttestationIssuer {
  const { review, ...common } = config;
  const { issuer, audience } = common;
  const rules: JwtRules = {
    ...common,
    what: 'attestation',
    kind: 'a service account token',
    hints: {
      send: 'send the projected token as it was read, without white space',
      renew: 'read the projected token again',
      audience: 'project the token with that audience',
      expiring: 'use a projected service account token, which does',
      signer: 'the cluster',
    },
    algorithms: ['RS256', 'ES256'],
    remembered: new RememberedJwts(),
    requiredClaims: ['sub'],
  };
  requireSoundRules(rules, 'k8s attestation');
  const knownWorkload = makeKnownWorkloads();
  return {
    kind: 'k8s_sa_jwt',
    issuer,
    async verify({ token }) {
      const claims = await verifySignedJwt(rules, token);
      const account = identifyServiceAccount(claims);
      if (review !== null) {
        await review.confirm({ token, subject: account.subject, podUid: account.attributes.pod_uid ?? null });
      }
      const workload = knownWorkload({ type: 'k8s_sa', issuer, audience, ...account });
      return { ...workload, expiresAt: new Date(claims.exp * 1000) };
    },
  };
}
