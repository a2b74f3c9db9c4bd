import type { webcrypto } from 'node:crypto';
import type { PublicKeySet } from './session-tokens.ts';

/** The keys of a broker that signs: one signs, all verify. */
export interface KeyRing {
  /** The key that signs now, and the id under which others find its public half (RFC 7638 thumbprint). */
  readonly signingKey: { readonly kid: string; readonly privateKey: webcrypto.CryptoKey };
  /** Null for a key that is not on the ring. */
  verificationKey(kid: string): webcrypto.CryptoKey | null;
  /** 32 secret bytes for one purpose, always the same for the same signing key (HKDF-SHA256, RFC 5869). */
  secretFor(purpose: string): Uint8Array;
  /** Every public key on the ring, the signing one first. Never a private part. */
  publicKeys(): PublicKeySet;
}
