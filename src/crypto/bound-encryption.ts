import { errors, FlattenedEncrypt, flattenedDecrypt } from 'jose';
import type { KeyObject } from 'node:crypto';

/** A key for AES-256-GCM: 32 bytes. */
export type ContentKey = KeyObject | Uint8Array;

/** The key itself encrypts, by AES-256-GCM with a random IV of 96 bits (RFC 7518 sections 4.5 and 5.3). */
const HEADER = { alg: 'dir', enc: 'A256GCM' } as const;
const PROTECTED = Buffer.from(JSON.stringify(HEADER)).toString('base64url');
const ONLY_THIS = { keyManagementAlgorithms: [HEADER.alg], contentEncryptionAlgorithms: [HEADER.enc] };

/**
 * Encrypts, and binds the result to `context`: `IV.CIPHERTEXT.TAG`, each base64url. That is a JWE in flattened serialization
 * (RFC 7516 section 7.2.2) without what is always the same and without its `aad`, which the reader has to know.
 */
export async function encryptBound(plaintext: Uint8Array, key: ContentKey, context: string): Promise<string> {
  const jwe = await new FlattenedEncrypt(plaintext)
    .setProtectedHeader(HEADER)
    .setAdditionalAuthenticatedData(Buffer.from(context))
    .encrypt(key);
  return [jwe.iv, jwe.ciphertext, jwe.tag].join('.');
}

/**
 * Opens what `encryptBound` made; null when the text, the key or the context is another. One ciphertext has one spelling: a
 * decoder that is content with spare bits would let the text be changed and still open.
 */
export async function decryptBound(text: string, key: ContentKey, context: string): Promise<Uint8Array | null> {
  const parts = text.split('.');
  const [iv, ciphertext, tag] = parts;
  if (parts.length !== 3 || iv === undefined || ciphertext === undefined || tag === undefined) return null;
  if (!parts.every(isBase64url)) return null;
  const aad = Buffer.from(context).toString('base64url');
  try {
    return (await flattenedDecrypt({ protected: PROTECTED, iv, ciphertext, tag, aad }, key, ONLY_THIS)).plaintext;
  } catch (error) {
    if (error instanceof errors.JOSEError) return null;
    throw error;
  }
}

/** Whether a text is base64url in the one way that its bytes are written (RFC 4648 sections 3.5 and 5). */
const isBase64url = (text: string): boolean => Buffer.from(text, 'base64url').toString('base64url') === text;
