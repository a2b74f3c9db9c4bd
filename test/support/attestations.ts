import { generateKeyPairSync, type KeyObject } from 'node:crypto';
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

function toClusterKey({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): ClusterKey {
  const publicPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const [key] = parsePublicKeys(publicPem);
  if (key === undefined) throw new Error('no key in its own PEM');
  return { ...key, privateKey, publicPem };
}

/** The cluster's keys; made once, because RSA keys are slow to make. */
export const rsaKey = makeRsaKey();
export const ecKey = makeEcKey();

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
