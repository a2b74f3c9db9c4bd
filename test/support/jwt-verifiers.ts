import { createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { makeDelegationVerifier } from '../../src/authn/delegation-assertions.ts';
import { makeProofVerifier } from '../../src/authn/dpop.ts';
import { makeK8sAttestation } from '../../src/authn/k8s-attestation.ts';
import { type KeySource, staticKeys } from '../../src/authn/key-source.ts';
import { makeOidcAttestation } from '../../src/authn/oidc-attestation.ts';
import { makeOperatorTokens } from '../../src/authn/operator-tokens.ts';
import { parsePublicKeys, type SigningAlgorithm } from '../../src/authn/pem-keys.ts';
import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { keyRingFromPem } from '../../src/crypto/key-ring.ts';
import { unauthorized } from '../../src/domain/errors.ts';
import type { TenantId } from '../../src/domain/ids.ts';
import type { KeyRing } from '../../src/domain/key-ring.ts';
import type { ClaimKind } from '../../src/domain/runtime-store.ts';
import { Secret } from '../../src/domain/secret.ts';
import { CALLBACK_TYPE, makeCallbackVerifier } from '../../src/notify/callbacks.ts';
import { LINK_AUDIENCE, LINK_TYPE } from '../../src/notify/link-token.ts';
import { parseCallbackKey, type WebhookReceiver } from '../../src/notify/receiver.ts';
import { githubActionsClaims, projectedClaims } from './attestations.ts';
import type { FakeClock } from './fake-clock.ts';

type Members = Readonly<Record<string, unknown>>;

/** A verifier of JWTs, with all it takes to make good tokens for it, and bad ones. */
export interface JwtVerifier {
  name: string;
  key: SigningKey;
  header: Members;
  /** Of a good token that was not used before. */
  claims(): Members;
  /** The claim that says when a token is good. */
  timeClaim: 'exp' | 'iat';
  /** Rejects unless the token is good and its bearer is who the good tokens are about. */
  verify(token: string): Promise<unknown>;
}

export interface SigningKey {
  alg: SigningAlgorithm;
  privateKey: KeyObject;
  publicKey: KeyObject;
  publicJwk: JsonWebKey;
  /** The signature that the algorithm asks for, over anything. */
  signBytes(input: string | Buffer): Buffer;
}

export function makeSigningKey(alg: SigningAlgorithm): SigningKey {
  const privateKey = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  }[alg]().privateKey;
  return signingKeyFrom(alg, privateKey);
}

export function signingKeyFrom(alg: SigningAlgorithm, privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey);
  return {
    alg,
    privateKey,
    publicKey,
    publicJwk: publicKey.export({ format: 'jwk' }),
    signBytes: (input) =>
      sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }),
  };
}

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'asb';
const TENANT = 't_dev' as TenantId;
const REQUEST = { method: 'POST', url: 'https://asb.example/v1/sessions' };

/**
 * Every verifier that takes this algorithm. They share key, issuer and audience (links alone have an audience of their own), so
 * that nothing but what a token is for keeps one kind from passing as another.
 */
export async function verifiersOf(key: SigningKey, clock: FakeClock): Promise<readonly JwtVerifier[]> {
  const publicKeys = parsePublicKeys(key.publicKey.export({ format: 'pem', type: 'spki' }).toString());
  const fixed = staticKeys(publicKeys);
  const fetched: KeySource = { find: async (hint) => fixed.find(hint) };
  const header = { alg: key.alg, kid: publicKeys[0]?.kid, typ: 'JWT' };
  const context = { key, clock, fixed, header };
  switch (key.alg) {
    case 'RS256':
      return [k8s(context), oidc(context), operators(context, fixed, 'keys known')];
    case 'ES256':
      return [k8s(context), oidc(context), operators(context, fetched, 'keys fetched'), await proofs(context)];
    case 'EdDSA':
      return [
        oidc(context),
        await sessions(context),
        operators(context, fixed, 'keys known'),
        operators(context, fetched, 'keys fetched'),
        delegations(context),
        await proofs(context),
        await approvalLinks(context),
        await signedCallbacks(context),
      ];
  }
}

interface Context {
  key: SigningKey;
  clock: FakeClock;
  fixed: KeySource;
  header: Members;
}

const secondsOf = (clock: FakeClock) => Math.floor(clock.now().getTime() / 1000);

const ringOf = ({ privateKey }: SigningKey): Promise<KeyRing> =>
  keyRingFromPem(privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());

function k8s({ key, clock, fixed, header }: Context): JwtVerifier {
  const verifier = makeK8sAttestation({ issuer: ISSUER, audience: AUDIENCE, keys: fixed, clock, review: null });
  return {
    name: `k8s attestation by ${key.alg}`,
    key,
    header,
    claims: () => ({ ...projectedClaims(clock.now()), iss: ISSUER, aud: AUDIENCE }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify({ kind: 'k8s_sa_jwt', token }),
  };
}

function oidc({ key, clock, fixed, header }: Context): JwtVerifier {
  const common = { issuer: ISSUER, audience: AUDIENCE, keys: fixed, clock };
  const verifier = makeOidcAttestation({ ...common, allowedSubjectPrefixes: ['repo:acme/'] });
  return {
    name: `OIDC attestation by ${key.alg}`,
    key,
    header,
    claims: () => ({ ...githubActionsClaims(clock.now()), iss: ISSUER, aud: AUDIENCE }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify({ kind: 'oidc_jwt', token }),
  };
}

async function sessions({ key, clock }: Context): Promise<JwtVerifier> {
  const ring = await ringOf(key);
  const tokens = makeSessionTokens({ keys: ring, issuer: ISSUER, clock });
  return {
    name: `session tokens by ${key.alg}`,
    key,
    header: { alg: key.alg, kid: ring.signingKey.kid, typ: 'asb-session+jwt' },
    claims: () => ({
      sid: 'sess_1',
      tenant_id: TENANT,
      agent_id: 'reviewer',
      run_id: 'run-1',
      tool_context: ['github'],
      workload_hash: 'ab'.repeat(32),
      iss: ISSUER,
      sub: 'reviewer',
      jti: randomUUID(),
      iat: secondsOf(clock),
      nbf: secondsOf(clock),
      exp: secondsOf(clock) + 900,
    }),
    timeClaim: 'exp',
    verify: (token) => tokens.verify(token),
  };
}

function operators({ key, clock, header }: Context, keys: KeySource, how: string): JwtVerifier {
  const roleMappings = [{ claimValue: 'approver', roles: ['approver'], tenants: [TENANT] }] as const;
  const issuer = { issuer: ISSUER, audience: AUDIENCE, keys, rolesClaim: 'roles', roleMappings };
  const verifier = makeOperatorTokens({ issuers: [issuer], tenants: [TENANT], clock });
  return {
    name: `operator tokens by ${key.alg}, ${how}`,
    key,
    header,
    claims: () => ({ iss: ISSUER, aud: AUDIENCE, sub: 'olga', roles: ['approver'], exp: secondsOf(clock) + 3600 }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify(token),
  };
}

function delegations({ key, clock, fixed, header }: Context): JwtVerifier {
  const issuer = { issuer: ISSUER, audience: AUDIENCE, keys: fixed, tenants: [TENANT] };
  const verifier = makeDelegationVerifier({ issuers: [issuer], clock });
  return {
    name: `delegation assertions by ${key.alg}`,
    key,
    header,
    claims: () => ({
      iss: ISSUER,
      aud: AUDIENCE,
      sub: 'dora',
      jti: randomUUID(),
      tenant_id: TENANT,
      agent_id: 'reviewer',
      allowed_capabilities: ['repo.read'],
      exp: secondsOf(clock) + 3600,
    }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify(token),
  };
}

const RECEIVER: WebhookReceiver = {
  name: 'hook',
  kind: 'webhook',
  secret: new Secret('nobody is told anything'),
  tenants: [TENANT],
  url: new URL('http://127.0.0.1:9/hook'),
  callbackKey: null,
  links: false,
  approver: 'ana',
};
/** What both kinds of signed decisions say. */
const aDecision = (clock: FakeClock) => ({
  jti: randomUUID(),
  iat: secondsOf(clock),
  exp: secondsOf(clock) + 300,
  approval_id: `ap_${randomUUID()}`,
  request_hash: 'ab'.repeat(32),
  decision: 'approve',
});

async function approvalLinks({ key, clock }: Context): Promise<JwtVerifier> {
  const keys = await ringOf(key);
  const receiver = { ...RECEIVER, links: true };
  const verifier = makeCallbackVerifier({ receivers: () => [receiver], keys, issuer: ISSUER, clock });
  const asked = { capability: 'repo.read', ttl_seconds: 600 };
  return {
    name: `approval links by ${key.alg}`,
    key,
    header: { alg: key.alg, kid: keys.signingKey.kid, typ: LINK_TYPE },
    claims: () => ({
      ...aDecision(clock),
      iss: ISSUER,
      aud: LINK_AUDIENCE,
      tenant_id: TENANT,
      receiver: receiver.name,
      asked,
    }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify(token),
  };
}

/** The receiver has the name of the issuer and the key of the broker, which no configuration should give it. */
async function signedCallbacks({ key, clock }: Context): Promise<JwtVerifier> {
  const keys = await ringOf(key);
  const callbackKey = parseCallbackKey(key.publicKey.export({ format: 'pem', type: 'spki' }).toString());
  const receiver = { ...RECEIVER, name: ISSUER, callbackKey };
  const verifier = makeCallbackVerifier({ receivers: () => [receiver], keys, issuer: AUDIENCE, clock });
  return {
    name: `approval callbacks by ${key.alg}`,
    key,
    header: { alg: key.alg, typ: CALLBACK_TYPE },
    claims: () => ({ ...aDecision(clock), iss: ISSUER, aud: AUDIENCE, comment: 'fine' }),
    timeClaim: 'exp',
    verify: (token) => verifier.verify(token),
  };
}

async function proofs({ key, clock }: Context): Promise<JwtVerifier> {
  const used = new Map<string, string>();
  const claim = async (_kind: ClaimKind, mark: string, value: string) => {
    if (!used.has(mark)) used.set(mark, value);
    return used.get(mark) === value;
  };
  const verifier = makeProofVerifier({ clock, runtime: { claim }, ids: { tokenId: randomUUID } });
  const thumbprint = await calculateJwkThumbprint(key.publicKey);
  return {
    name: `DPoP proofs by ${key.alg}`,
    key,
    header: { typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk },
    claims: () => ({ jti: randomUUID(), htm: REQUEST.method, htu: REQUEST.url, iat: secondsOf(clock) }),
    timeClaim: 'iat',
    // A good proof of another key is no proof of this one: so it is with a session that is bound to a key.
    async verify(token) {
      const proven = await verifier.verify({ presented: { proofs: [token], ...REQUEST }, credential: null });
      if (proven !== thumbprint) throw unauthorized('DPoP: another key');
      return proven;
    },
  };
}
