import { createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import { CompactSign } from 'jose';
import { parsePublicKeys, type VerificationKey } from '../../src/authn/pem-keys.ts';

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
export const AUDIENCE = 'asb-control-plane';

/** A key as a cluster holds it, with what the broker is given of it. */
export interface ClusterKey extends VerificationKey {
  privateKey: KeyObject;
  publicPem: string;
}

export function makeRsaKey(bits = 2048): ClusterKey {
  return toClusterKey(generateKeyPairSync('rsa', { modulusLength: bits }));
}

export function makeEcKey(): ClusterKey {
  return toClusterKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
}

export function makeEd25519Key(): ClusterKey {
  return toClusterKey(generateKeyPairSync('ed25519'));
}

function toClusterKey({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): ClusterKey {
  const publicPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const [key] = parsePublicKeys(publicPem);
  if (key === undefined) throw new Error('no key in its own PEM');
  return { ...key, privateKey, publicPem };
}

/** What an issuer publishes of a key. */
export function publicJwk(key: ClusterKey): JsonWebKey & { kid: string; alg: string } {
  return { ...createPublicKey(key.publicPem).export({ format: 'jwk' }), kid: key.kid, alg: key.alg };
}

/** The issuers' keys; made once, because RSA keys are slow to make. */
export const rsaKey = makeRsaKey();
export const ecKey = makeEcKey();
/** No cluster signs with one. */
export const ed25519Key = makeEd25519Key();

type Claims = Readonly<Record<string, unknown>>;

export interface MintOptions {
  /** When the token is issued; the tokens of these helpers last an hour from then. */
  now: Date;
  key?: Pick<ClusterKey, 'alg' | 'kid' | 'privateKey'>;
  /** Replaces claims; undefined removes one. */
  claims?: Claims;
  header?: Claims;
}

/** The claims of a projected token as Kubernetes 1.30 and later write them. */
export function projectedClaims(now: Date): Claims {
  const issuedAt = Math.floor(now.getTime() / 1000);
  return {
    aud: [AUDIENCE],
    exp: issuedAt + 3600,
    iat: issuedAt,
    iss: ISSUER,
    jti: '5b6e9c1f-6a0f-4a53-9f0f-7c3a5f9f3f52',
    'kubernetes.io': {
      namespace: 'agents',
      node: { name: 'worker-1', uid: '517eb86e-b863-451b-bf70-86cb61439a3a' },
      pod: { name: 'runner-7d4b9', uid: '0d8b260e-ef0e-45fb-be8e-ff44f97722e8' },
      serviceaccount: { name: 'runner', uid: 'e6a8680e-d103-4cce-80ea-03acbbeacf7d' },
      warnafter: issuedAt + 3607,
    },
    nbf: issuedAt,
    sub: 'system:serviceaccount:agents:runner',
  };
}

/** The flat claims of a legacy token, with the audience and the end that real ones lack. */
export function legacyClaims(now: Date): Claims {
  const issuedAt = Math.floor(now.getTime() / 1000);
  return {
    aud: AUDIENCE,
    exp: issuedAt + 3600,
    iss: ISSUER,
    'kubernetes.io/serviceaccount/namespace': 'agents',
    'kubernetes.io/serviceaccount/secret.name': 'runner-token-x7k2p',
    'kubernetes.io/serviceaccount/service-account.name': 'runner',
    'kubernetes.io/serviceaccount/service-account.uid': 'e6a8680e-d103-4cce-80ea-03acbbeacf7d',
    sub: 'system:serviceaccount:agents:runner',
  };
}

export const GITHUB_ISSUER = 'https://token.actions.githubusercontent.com';

/** Every claim that GitHub Actions documents for a job with an environment and a reusable workflow. */
export function githubActionsClaims(now: Date): Claims {
  const issuedAt = Math.floor(now.getTime() / 1000);
  return {
    jti: '0f6d3c52-2a1e-4d6f-9d3a-6d3f0c9b7c11',
    sub: 'repo:acme/site:environment:production',
    aud: AUDIENCE,
    iss: GITHUB_ISSUER,
    iat: issuedAt,
    nbf: issuedAt - 300,
    exp: issuedAt + 3600,
    actor: 'octavia',
    actor_id: '4711',
    base_ref: '',
    check_run_id: '60271894301',
    enterprise: 'acme-corp',
    enterprise_id: '12',
    environment: 'production',
    environment_node_id: 'EN_kwDOJ2wR9s8AAAABQm2p0w',
    event_name: 'workflow_dispatch',
    head_ref: '',
    job_workflow_ref: 'acme/automation/.github/workflows/deploy.yml@refs/tags/v3',
    job_workflow_sha: 'b3a1c9e0d2f4a6b8c0e2f4a6b8c0d2e4f6a8b0c2',
    ref: 'refs/heads/main',
    ref_protected: 'true',
    ref_type: 'branch',
    repository: 'acme/site',
    repository_id: '74001',
    repository_owner: 'acme',
    repository_owner_id: '65002',
    repository_visibility: 'private',
    run_attempt: '1',
    run_id: '19123456789',
    run_number: '42',
    runner_environment: 'github-hosted',
    sha: '5f2d8e1c3b4a59687f6e5d4c3b2a190817263544',
    workflow: 'Deploy the site',
    workflow_ref: 'acme/site/.github/workflows/release.yml@refs/heads/main',
    workflow_sha: '5f2d8e1c3b4a59687f6e5d4c3b2a190817263544',
  };
}

export const mintGitHubToken = (options: MintOptions): Promise<string> =>
  mint(githubActionsClaims(options.now), { ...options, header: { typ: 'JWT', ...options.header } });
export const mintProjectedToken = (options: MintOptions): Promise<string> => mint(projectedClaims(options.now), options);
export const mintLegacyToken = (options: MintOptions): Promise<string> => mint(legacyClaims(options.now), options);

function mint(base: Claims, { key = rsaKey, claims = {}, header = {} }: MintOptions): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify({ ...base, ...claims })))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** One part of a token, encoded. */
export const encodePart = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
