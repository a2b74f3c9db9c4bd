import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { AttestationIssuer } from './attestation.ts';
import type { KeySource } from './key-source.ts';
import { makeKnownWorkloads } from './known-workloads.ts';
import { collectOidcAttributes, readSubject } from './oidc-claims.ts';
import { RememberedJwts } from './remembered-jwts.ts';
import { type JwtRules, requireSoundRules, verifySignedJwt } from './signed-jwt.ts';
import { makeSubjectMatcher } from './subject-prefixes.ts';

export interface OidcAttestationConfig {
  /** The `iss` of the tokens, as `https://token.actions.githubusercontent.com`. */
  issuer: string;
  /** The `aud` that a token must have been issued for. */
  audience: string;
  /** A subject must begin with one of these, and end there or go on with another part: `repo:acme/`. */
  allowedSubjectPrefixes: readonly string[];
  keys: KeySource;
  clock: Clock;
  /** How far the issuer's clock may be from ours, in seconds. */
  maxSkewSeconds?: number;
}

/**
 * Verifies tokens of an OpenID Connect issuer such as GitHub Actions: signature, issuer, audience, time, and whether the subject
 * is one of those that are let in. Public issuers sign tokens for everybody, so the allowed prefixes are what keeps strangers out.
 *
 * Throws an Error when the configuration would let nobody in, or too many.
 */
export function makeOidcAttestation(config: OidcAttestationConfig): AttestationIssuer {
  const { issuer, audience, allowedSubjectPrefixes, ...common } = config;
  const rules: JwtRules = {
    ...common,
    issuer,
    audience,
    what: 'attestation',
    kind: 'an OIDC token',
    hints: {
      renew: 'ask the issuer for a new one',
      audience: 'ask the issuer for a token with that audience',
      expiring: 'use an ID token, which does',
    },
    algorithms: ['RS256', 'ES256', 'EdDSA'],
    remembered: new RememberedJwts(),
    requiredClaims: ['sub'],
  };
  requireSoundRules(rules, 'oidc attestation');
  const isAllowed = makeSubjectMatcher(allowedSubjectPrefixes);
  const knownWorkload = makeKnownWorkloads();
  return {
    kind: 'oidc_jwt',
    issuer,
    async verify({ token }) {
      const claims = await verifySignedJwt(rules, token);
      const subject = readSubject(claims);
      if (!isAllowed(subject)) {
        throw unauthorized("attestation: token's subject begins with none of the allowed prefixes of this issuer");
      }
      const workload = knownWorkload({
        type: 'oidc',
        issuer,
        subject,
        audience,
        namespace: null,
        serviceAccount: null,
        attributes: collectOidcAttributes(claims),
      });
      return { ...workload, expiresAt: new Date(claims.exp * 1000) };
    },
  };
}
