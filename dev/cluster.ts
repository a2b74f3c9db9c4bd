import { randomUUID } from 'node:crypto';
import { type CryptoKey, exportSPKI, generateKeyPair, SignJWT } from 'jose';

/** A stand-in for a Kubernetes cluster's token issuer. */
export interface Cluster {
  issuer: string;
  /** The issuer's public key, PEM (SPKI). */
  publicKey: string;
  /** A token as a projected volume holds it, for the pod of one service account. */
  projectedToken(pod: { namespace: string; serviceAccount: string; ttlSeconds?: number }): Promise<string>;
}

const AUDIENCE = 'asb-control-plane';

/** Makes an issuer, with an RSA key of its own unless one is given. Token shape: kubernetes.io/docs/concepts/storage/projected-volumes. */
export async function makeCluster(
  issuer = 'https://kubernetes.default.svc.cluster.local',
  keys?: { publicKey: CryptoKey; privateKey: CryptoKey },
): Promise<Cluster> {
  const { publicKey, privateKey } = keys ?? (await generateKeyPair('RS256'));
  return {
    issuer,
    publicKey: await exportSPKI(publicKey),
    projectedToken({ namespace, serviceAccount, ttlSeconds = 3600 }) {
      const issuedAt = Math.floor(Date.now() / 1000);
      return new SignJWT({
        'kubernetes.io': {
          namespace,
          node: { name: 'node-1', uid: randomUUID() },
          pod: { name: `${serviceAccount}-0`, uid: randomUUID() },
          serviceaccount: { name: serviceAccount, uid: randomUUID() },
        },
      })
        .setProtectedHeader({ alg: 'RS256' })
        .setIssuer(issuer)
        .setSubject(`system:serviceaccount:${namespace}:${serviceAccount}`)
        .setAudience(AUDIENCE)
        .setIssuedAt(issuedAt)
        .setNotBefore(issuedAt)
        .setExpirationTime(issuedAt + ttlSeconds)
        .setJti(randomUUID())
        .sign(privateKey);
    },
  };
}
