import { randomBytes } from 'node:crypto';
import type { KeyManagement } from '../domain/key-management.ts';
import type { SealedSecret, SealingContext, SecretSealer } from '../domain/sealing.ts';
import { decryptBound, encryptBound } from './bound-encryption.ts';

/** Names the format. A later one gets a name of its own, and both are opened. */
const FORMAT = 'asb1';
const DATA_KEY_BYTES = 32;
/** A credential is far smaller; in UTF-8. */
export const MAX_SECRET_BYTES = 64 * 1024;
/** A third more by base64url; the rest is for the wrapped key, which other providers write longer. */
const MAX_SEALED_LENGTH = 2 * MAX_SECRET_BYTES;

export interface SecretSealerConfig {
  keys: KeyManagement;
}

/**
 * Envelope encryption: each secret has a data key of its own, which is wrapped by the key management. What it makes is
 * `asb1.KEY_ID.WRAPPED_KEY.IV.CIPHERTEXT.TAG`, each part base64url. Both layers are bound to the context; the content besides to the
 * key's name and to the wrapped key as they are written, so that no part can be exchanged.
 * `seal` rejects with an Error for a secret that is longer than `MAX_SECRET_BYTES` or not well-formed Unicode.
 */
export function makeSecretSealer({ keys }: SecretSealerConfig): SecretSealer {
  return {
    async seal(plaintext, context) {
      const secret = Buffer.from(plaintext);
      const dataKey = randomBytes(DATA_KEY_BYTES);
      try {
        if (!plaintext.isWellFormed())
          throw new Error('a secret with half a surrogate pair is not sealed: it would come out changed');
        if (secret.length > MAX_SECRET_BYTES)
          throw new Error(`a secret of more than ${MAX_SECRET_BYTES} bytes is not sealed`);
        const { keyId, wrapped } = await keys.wrap(dataKey, keyContext(context));
        const head = [FORMAT, base64url(keyId), base64url(wrapped)].join('.');
        const content = await encryptBound(secret, dataKey, contentContext(head, context));
        const sealed = `${head}.${content}`;
        if (sealed.length > MAX_SEALED_LENGTH) throw new Error('the key management wrapped a key in too long a text');
        return sealed as SealedSecret;
      } finally {
        dataKey.fill(0);
        secret.fill(0);
      }
    },

    async open(sealed, context) {
      const box = takeApart(sealed);
      if (box === null) throw notOpened('it is not written as one');
      const dataKey = await keys.unwrap({ keyId: box.keyId, wrapped: box.wrapped }, keyContext(context));
      try {
        if (dataKey.length !== DATA_KEY_BYTES) throw notOpened('its data key is of another length');
        const secret = await decryptBound(box.content, dataKey, contentContext(box.head, context));
        if (secret === null) throw notOpened('it was altered, or sealed for another place');
        const plaintext = Buffer.from(secret).toString();
        secret.fill(0);
        return plaintext;
      } finally {
        dataKey.fill(0);
      }
    },
  };
}

function takeApart(sealed: string): { head: string; keyId: string; wrapped: string; content: string } | null {
  if (sealed.length > MAX_SEALED_LENGTH) return null;
  const [format, keyId, wrapped, ...content] = sealed.split('.');
  if (format !== FORMAT || keyId === undefined || wrapped === undefined) return null;
  const head = [format, keyId, wrapped].join('.');
  return { head, keyId: fromBase64url(keyId), wrapped: fromBase64url(wrapped), content: content.join('.') };
}

/** What the wrapped key is bound to. JSON keeps the parts apart, whatever is in them. */
const keyContext = (context: SealingContext): string => JSON.stringify([FORMAT, 'data-key', ...partsOf(context)]);

const contentContext = (head: string, context: SealingContext): string =>
  JSON.stringify([FORMAT, 'content', ...partsOf(context), head]);

/** A wrapped secret has more parts than the others, and those have their purpose first: none reads as another. */
function partsOf(context: SealingContext): readonly string[] {
  if (context.purpose === 'shared_token') return [context.purpose, context.key];
  if (context.purpose === 'lease_id') return [context.purpose, context.revocationId];
  return [context.tenantId, context.artifactId, context.grantId, context.purpose];
}

const base64url = (text: string): string => Buffer.from(text).toString('base64url');
const fromBase64url = (text: string): string => Buffer.from(text, 'base64url').toString();

/** A defect or an attack, and nothing that a caller can mend. */
const notOpened = (why: string): Error => new Error(`a sealed secret cannot be opened: ${why}`);
