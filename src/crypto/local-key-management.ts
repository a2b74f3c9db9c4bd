import { createSecretKey, hkdfSync } from 'node:crypto';
import { unavailable } from '../domain/errors.ts';
import type { KeyManagement } from '../domain/key-management.ts';
import { decryptBound, encryptBound } from './bound-encryption.ts';

/** AES-256. */
export const KEK_BYTES = 32;
const KEY_ID_BYTES = 16;
// The key is uniformly random already (RFC 5869 section 3.1).
const NO_SALT = new Uint8Array(0);

/**
 * Wraps data keys in this process by AES-256-GCM, with the first of `keys`; unwraps with each of them. The bytes may be erased
 * afterwards. Good for 2^32 wraps a key (NIST SP 800-38D section 8.3).
 */
export function makeLocalKeyManagement(keys: readonly Uint8Array[]): KeyManagement {
  const entries = keys.map((bytes) => ({ keyId: keyIdOf(bytes), key: createSecretKey(bytes) }));
  const byId = new Map(entries.map(({ keyId, key }) => [keyId, key]));
  const [current] = entries;
  if (current === undefined) throw new Error('key management needs a key');
  return {
    wrap: async (dataKey, context) => ({
      keyId: current.keyId,
      wrapped: await encryptBound(dataKey, current.key, context),
    }),
    async unwrap({ keyId, wrapped }, context) {
      const key = byId.get(keyId);
      if (key === undefined) throw keyMissing(keyId);
      const dataKey = await decryptBound(wrapped, key, context);
      if (dataKey === null) throw new Error('a wrapped data key was altered, or wrapped for another place');
      return dataKey;
    },
  };
}

/** Names a key and tells nothing of it (HKDF-SHA256, RFC 5869). */
const keyIdOf = (key: Uint8Array): string =>
  `kek_${Buffer.from(hkdfSync('sha256', key, NO_SALT, 'asb-key-encryption-key-id', KEY_ID_BYTES)).toString('hex')}`;

/** The id comes from where the secret was stored: it is shown only when it is written as an id is. */
function keyMissing(keyId: string) {
  const name = /^kek_[0-9a-f]{32}$/.test(keyId) ? keyId : 'of no id that is ours';
  return unavailable('the key that sealed this secret is not at hand', {
    cause: new Error(`no key-encryption key ${name}; put it back into the key file, below the first`),
  });
}
