import { decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import { unauthorized } from '../domain/errors.ts';
import type { TenantId } from '../domain/ids.ts';
import type { OperatorRole, OperatorVerifier } from '../domain/operator.ts';
import { namedIssuer, requireDistinctIssuers } from './issuer-choice.ts';
import type { KeySource } from './key-source.ts';
import { type JwtRules, requireSoundRules, type VerifiedClaims, verifySignedJwt } from './signed-jwt.ts';

/** Who vouches for operators, and what their words are worth here. */
export interface OperatorIssuer {
  issuer: string;
  /** The `aud` that a token must have been issued for. */
  audience: string;
  keys: KeySource;
  /** Name of the claim that holds a value or a list of them. */
  rolesClaim: string;
  roleMappings: readonly RoleMapping[];
}

/** What a value of the roles claim is worth. */
export interface RoleMapping {
  claimValue: string;
  roles: readonly OperatorRole[];
  tenants: readonly TenantId[];
}

export interface OperatorTokensConfig {
  issuers: readonly OperatorIssuer[];
  /** The tenants that are configured; a mapping to any other is worth nothing. */
  tenants: readonly TenantId[];
  clock: Clock;
}

const WHAT = 'authorization';
/** A plain JWT or an access token (RFC 9068 section 2.1). Tokens of other types are made for something else (RFC 8725 section 3.11). */
const TOKEN_TYPES = ['jwt', 'at+jwt'];

/** OpenID Connect Core 1.0 section 2; what can be read in a log line. */
const Subject = z.string().regex(/^[\x20-\x7e]{1,255}$/);
const RoleValues = z.union([z.string().transform((value) => [value]), z.array(z.string())]);

type Roles = ReadonlyMap<TenantId, ReadonlySet<OperatorRole>>;

/**
 * Reads operators' tokens: JWTs that a configured issuer signed for our audience, with a claim whose values are mapped to roles,
 * tenant by tenant. A token without that claim is no operator's, whoever signed it; one whose values are mapped to nothing is an
 * operator's who may do nothing.
 *
 * Throws an Error when an issuer's configuration would let nobody in, or too many.
 */
export function makeOperatorTokens({ issuers, tenants, clock }: OperatorTokensConfig): OperatorVerifier {
  requireDistinctIssuers(issuers, 'operator tokens');
  const known = issuers.map((issuer) => ({
    issuer: issuer.issuer,
    rules: rulesOf(issuer, clock),
    rolesOf: roleReader(issuer, new Set(tenants)),
  }));
  return {
    async verify(token) {
      const named = namedIssuer(known, token);
      if (named === undefined) throw unauthorized(`${WHAT}: no operators are configured here, so no token is an operator's`);
      const claims = await verifySignedJwt(named.rules, token);
      requireType(token);
      const subject = Subject.safeParse(claims.sub);
      if (!subject.success) {
        throw unauthorized(`${WHAT}: token's sub claim must be 1 to 255 printable ASCII characters`, {
          cause: subject.error,
        });
      }
      return { issuer: named.issuer, subject: subject.data, roles: named.rolesOf(claims) };
    },
  };
}

function rulesOf({ issuer, audience, keys }: OperatorIssuer, clock: Clock): JwtRules {
  const rules: JwtRules = {
    what: WHAT,
    kind: 'an operator token',
    keys,
    issuer,
    audience,
    algorithms: ['RS256', 'ES256', 'EdDSA'],
    clock,
    requiredClaims: ['sub'],
  };
  requireSoundRules(rules, 'operator tokens');
  return rules;
}

/** Asked of a verified token, whose header is its issuer's word. */
function requireType(token: string): void {
  const { typ = 'JWT' } = decodeProtectedHeader(token);
  if (typeof typ !== 'string' || !TOKEN_TYPES.includes(typ.toLowerCase().replace(/^application\//, ''))) {
    throw unauthorized(`${WHAT}: token is of another type than an operator's; its typ must be JWT or at+jwt`);
  }
}

/** Looks up what the values of a token's roles claim are worth. */
function roleReader(
  { rolesClaim, roleMappings }: OperatorIssuer,
  tenants: ReadonlySet<TenantId>,
): (claims: VerifiedClaims) => Roles {
  if (rolesClaim === '') throw new Error('operator tokens: an issuer needs the name of its roles claim');
  const worth = Map.groupBy(roleMappings, ({ claimValue }) => claimValue);
  return (claims) => {
    const values = RoleValues.safeParse(claims[rolesClaim]);
    if (!values.success) {
      throw unauthorized(`${WHAT}: token's ${rolesClaim} claim must be a role or a list of roles`, { cause: values.error });
    }
    const roles = new Map<TenantId, Set<OperatorRole>>();
    for (const mapping of [...new Set(values.data)].flatMap((value) => worth.get(value) ?? [])) {
      for (const tenantId of mapping.tenants.filter((id) => tenants.has(id))) {
        roles.set(tenantId, new Set([...(roles.get(tenantId) ?? []), ...mapping.roles]));
      }
    }
    return roles;
  };
}
