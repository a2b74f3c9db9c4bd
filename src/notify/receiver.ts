import { createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';
import type { Approver } from '../domain/approval.ts';
import type { TenantId } from '../domain/ids.ts';
import type { Secret } from '../domain/secret.ts';

interface Common {
  name: string;
  tenants: readonly TenantId[];
  /** Whoever has Slack's can write to the channel: it goes to the connection and nowhere else. */
  url: URL;
  /** Verifies the callbacks that this receiver signs itself; null when it signs none. */
  callbackKey: webcrypto.CryptoKey | null;
  /** Whether messages carry one-time links that decide. */
  links: boolean;
  /** The subject of the person that it speaks for; null when it stands for itself. */
  approver: string | null;
}

export type WebhookReceiver = Common & { kind: 'webhook'; secret: Secret };
export type SlackReceiver = Common & { kind: 'slack' };

/** Who is told of pending approvals, ready to be used. */
export type Receiver = WebhookReceiver | SlackReceiver;

/** Who decides when this receiver's word comes back. However many people are behind it, it counts as one. */
export function approverOf({ name, approver }: Receiver): Approver {
  const itself = `callback:${name}`;
  return { issuer: itself, subject: approver ?? itself };
}

/**
 * Reads the key that verifies a receiver's callbacks: one `PUBLIC KEY` block (RFC 7468), Ed25519. Throws an Error that says what
 * is wrong with it, never what is in it.
 */
export function parseCallbackKey(pem: string): webcrypto.CryptoKey {
  // Node would take the public half out of it; a private key has no business on this machine.
  if (pem.includes('PRIVATE KEY')) throw new Error('is a private key; put only the public key here');
  const key = decode(pem);
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new Error(`is a key of kind ${key.asymmetricKeyType ?? 'unknown'}, not Ed25519`);
  }
  return key.toCryptoKey({ name: 'Ed25519' }, true, ['verify']);
}

function decode(pem: string): KeyObject {
  try {
    return createPublicKey({ key: pem, format: 'pem', type: 'spki' });
  } catch (cause) {
    throw new Error('is no PUBLIC KEY in PEM; get one with: openssl pkey -pubout', { cause });
  }
}
