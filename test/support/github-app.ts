import { generateKeyPairSync } from 'node:crypto';

export const APP_ID = 71;

export interface AppKeys {
  /** PKCS#1, as GitHub gives it out. */
  pkcs1: string;
  pkcs8: string;
  publicPem: string;
}

/** A key pair of a GitHub App. */
export function makeAppKeys(): AppKeys {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = (type: 'pkcs1' | 'pkcs8') => privateKey.export({ type, format: 'pem' }).toString();
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { pkcs1: pem('pkcs1'), pkcs8: pem('pkcs8'), publicPem };
}
