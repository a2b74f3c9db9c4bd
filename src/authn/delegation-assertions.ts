import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import type { Delegation, DelegationVerifier } from '../domain/delegation.ts';
import { forbidden, unauthorized } from '../domain/errors.ts';
import type { AgentId, TenantId } from '../domain/ids.ts';
import { isStorable } from '../domain/storable-text.ts';
import { namedIssuer, requireDistinctIssuers } from './issuer-choice.ts';
import type { KeySource } from './key-source.ts';
import { type JwtRules, requireSoundRules, verifySignedJwt } from './signed-jwt.ts';

/** Who may let agents act for them. */
export interface DelegationIssuer {
  issuer: string;
  keys: KeySource;
  /** The `aud` that an assertion must carry; null asks for none. */
  audience: string | null;
  /** For which tenants this issuer may delegate. */
  tenants: readonly TenantId[];
}

export interface DelegationVerifierConfig {
  issuers: readonly DelegationIssuer[];
  clock: Clock;
}

const WHAT = 'delegation_assertion';
const MAX_ID_LENGTH = 200;
const MAX_JTI_LENGTH = 128;
/** Who has used an assertion is kept until it ends, so it must end. */
const MAX_LIFETIME_DAYS = 90;
const DAY_MS = 86_400_000;
const MAX_CAPABILITIES = 100;
const MAX_NAMES = 200;
const MAX_NAME_LENGTH = 300;

const id = <T extends string>() =>
  z.custom<T>((value) => typeof value === 'string' && value !== '' && value.length <= MAX_ID_LENGTH);
/** Exact, or a prefix and a trailing `*`: any other star would be taken for a letter. */
const Capability = z.string().regex(/^(?=.)[\w.:@/-]{0,200}\*?$/);
const Names = z.array(z.string().min(1).max(MAX_NAME_LENGTH).refine(isStorable)).max(MAX_NAMES);

/**
 * Strict, inside and out: whoever adds a claim or a filter means to restrict, and to ignore it would allow more than was
 * delegated. What passes besides our own is what RFC 7519 section 4.1 defines.
 */
const AssertionClaims = z.strictObject({
  iss: z.string(),
  sub: z.string().regex(/^[\x20-\x7e]{1,255}$/),
  aud: z.unknown().optional(),
  exp: z.number(),
  nbf: z.number().optional(),
  iat: z.number().optional(),
  jti: z.string().min(1).max(MAX_JTI_LENGTH).refine(isStorable),
  tenant_id: id<TenantId>(),
  agent_id: id<AgentId>(),
  allowed_capabilities: z.array(Capability).max(MAX_CAPABILITIES),
  resource_filters: z
    .strictObject({ repo: Names.optional(), db_role: Names.optional(), origin: Names.optional() })
    .default({}),
});
type AssertionClaims = z.infer<typeof AssertionClaims>;

/**
 * Reads delegation assertions: JWTs by Ed25519 in which an issuer says what an agent may do for somebody. An assertion only narrows,
 * so the audience counts where the configuration names one: an assertion that was meant for another broker gains nothing here.
 *
 * An authentic assertion for a tenant that its issuer has no say in is `forbidden`, not `unauthorized`: who signed it is known, and no
 * newer token would change the answer. Throws an Error when an issuer's configuration would let nobody in, or too many.
 */
export function makeDelegationVerifier({ issuers, clock }: DelegationVerifierConfig): DelegationVerifier {
  requireDistinctIssuers(issuers, 'delegation assertions');
  const known = issuers.map((issuer) => ({
    issuer: issuer.issuer,
    rules: rulesOf(issuer, clock),
    tenants: new Set(issuer.tenants),
  }));
  return {
    async verify(assertion) {
      const named = namedIssuer(known, assertion);
      if (named === undefined) throw notAccepted('no issuer of delegations is configured here; leave it out');
      const parsed = AssertionClaims.safeParse(await verifySignedJwt(named.rules, assertion));
      if (!parsed.success) throw malformed(parsed.error);
      const claims = parsed.data;
      if (!named.tenants.has(claims.tenant_id)) throw notAccepted('its issuer may not delegate for that tenant');
      const delegation = toDelegation(claims);
      if (delegation.expiresAt.getTime() - clock.now().getTime() > MAX_LIFETIME_DAYS * DAY_MS) {
        throw unauthorized(`${WHAT}: exp must be at most ${MAX_LIFETIME_DAYS} days ahead; ask for a shorter one`);
      }
      return delegation;
    },
  };
}

function rulesOf({ issuer, audience, keys }: DelegationIssuer, clock: Clock): JwtRules {
  const rules: JwtRules = {
    what: WHAT,
    kind: 'a delegation assertion',
    keys,
    issuer,
    audience,
    algorithms: ['EdDSA'],
    clock,
    requiredClaims: ['sub', 'jti'],
  };
  requireSoundRules(rules, 'delegation assertions');
  return rules;
}

function toDelegation(claims: AssertionClaims): Delegation {
  const { repo, db_role: dbRole, origin } = claims.resource_filters;
  return {
    issuer: claims.iss,
    subject: claims.sub,
    id: claims.jti,
    tenantId: claims.tenant_id,
    agentId: claims.agent_id,
    allowedCapabilities: claims.allowed_capabilities,
    // An empty list allows no resource of its kind, so it must not get lost.
    resourceFilters: {
      ...(repo === undefined ? {} : { github_repo: repo }),
      ...(dbRole === undefined ? {} : { db_role: dbRole }),
      ...(origin === undefined ? {} : { browser_origin: origin }),
    },
    expiresAt: new Date(claims.exp * 1000),
  };
}

function malformed(error: z.ZodError) {
  const [issue] = error.issues;
  const claim = String(issue?.path[0] ?? 'payload');
  const advice =
    issue?.code !== 'unrecognized_keys'
      ? `token's ${claim} claim is missing or malformed`
      : issue.path.length > 0
        ? 'token filters a kind of resource that is not known here; use repo, db_role and origin'
        : 'token has a claim that is not known here and might restrict it; leave it out';
  // The error itself quotes the names that the token chose.
  return unauthorized(`${WHAT}: ${advice}`, { cause: new Error(issue?.code ?? 'invalid') });
}

const notAccepted = (why: string) => forbidden('delegation_not_accepted', `${WHAT}: ${why}`, { rule: 'delegation' });
