import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { badRequest, envelope, VaultError } from './answers.ts';
import { bodyOf, type Handler, ok, type VaultCall } from './request.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const CIPHERTEXT = /^vault:v(\d+):([A-Za-z0-9+/]+=*)$/;
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);

const One = z.object({
  plaintext: base64.optional(),
  ciphertext: z.string().optional(),
  associated_data: base64.optional(),
  context: base64.optional(),
});
const Body = One.extend({ batch_input: z.array(One).optional() });
type Item = z.infer<typeof One>;

/** A key of `aes256-gcm96`. */
interface Key {
  /** The first is version 1. */
  versions: Buffer[];
  /** Whether each request names a context, from which its own key is derived. */
  isDerived: boolean;
  minDecryptionVersion: number;
}
const NewKey = z.object({ derived: z.boolean().default(false) });
const KeyConfig = z.object({ min_decryption_version: z.int().min(1).optional() });

/** https://developer.hashicorp.com/vault/api-docs/secret/transit */
export function transitEngine(mount: string): Handler {
  const keys = new Map<string, Key>();
  const many = (call: VaultCall, work: (item: Item) => object) => {
    const body = bodyOf(call, Body);
    if (body.batch_input === undefined) return ok(envelope({ data: work(body) }));
    const results = body.batch_input.map((item) => {
      try {
        return work(item);
      } catch (error) {
        return { error: error instanceof VaultError ? error.message : 'failed' };
      }
    });
    return ok(envelope({ data: { batch_results: results } }));
  };
  const keyNamed = (name: string): Key => {
    const key = keys.get(name);
    if (key === undefined) throw badRequest('encryption key not found');
    return key;
  };
  return (call) => {
    const [area = '', name = '', detail] = call.path.slice(mount.length + 1).split('/');
    if (call.method === 'GET' && area === 'keys') {
      const key = keys.get(name);
      if (key === undefined) throw new VaultError(404);
      const data = {
        name,
        type: 'aes256-gcm96',
        derived: key.isDerived,
        latest_version: key.versions.length,
        min_decryption_version: key.minDecryptionVersion,
      };
      return Promise.resolve(ok(envelope({ data })));
    }
    if (call.method !== 'POST' || name === '') return Promise.resolve(null);
    switch (`${area}${detail === undefined ? '' : `/${detail}`}`) {
      case 'keys':
        if (!keys.has(name)) {
          const isDerived = bodyOf(call, NewKey).derived;
          keys.set(name, { versions: [randomBytes(KEY_BYTES)], isDerived, minDecryptionVersion: 1 });
        }
        return Promise.resolve('no_content');
      case 'keys/config': {
        const key = keyNamed(name);
        const version = bodyOf(call, KeyConfig).min_decryption_version ?? key.minDecryptionVersion;
        if (version > key.versions.length) {
          throw badRequest(`cannot set min decryption version of ${version}, latest key version is ${key.versions.length}`);
        }
        key.minDecryptionVersion = version;
        return Promise.resolve('no_content');
      }
      case 'keys/rotate':
        keyNamed(name).versions.push(randomBytes(KEY_BYTES));
        return Promise.resolve('no_content');
      case 'encrypt':
        return Promise.resolve(
          many(call, (item) => {
            const key = keyNamed(name);
            return { ciphertext: encrypt(key, item), key_version: key.versions.length };
          }),
        );
      case 'decrypt':
        return Promise.resolve(many(call, (item) => ({ plaintext: decrypt(keyNamed(name), item).toString('base64') })));
      case 'rewrap':
        return Promise.resolve(
          many(call, (item) => {
            const key = keyNamed(name);
            const plaintext = decrypt(key, item).toString('base64');
            return { ciphertext: encrypt(key, { ...item, plaintext }), key_version: key.versions.length };
          }),
        );
      default:
        return Promise.resolve(null);
    }
  };
}

const bytesOf = (text = ''): Buffer => Buffer.from(text, 'base64');

/** HKDF with SHA-256 over the context, as Vault derives (https://developer.hashicorp.com/vault/docs/secrets/transit#key-types). */
function secretOf(key: Key, version: number, context: string | undefined): Buffer {
  const secret = key.versions[version - 1];
  if (secret === undefined) throw badRequest('invalid ciphertext: version is too new');
  if (version < key.minDecryptionVersion) {
    throw badRequest('ciphertext or signature version is disallowed by policy (too old)');
  }
  if (!key.isDerived) return secret;
  if (context === undefined || context === '') {
    throw badRequest(
      "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key",
    );
  }
  return Buffer.from(hkdfSync('sha256', secret, '', bytesOf(context), KEY_BYTES));
}

function encrypt(key: Key, { plaintext, associated_data: associated, context }: Item): string {
  if (plaintext === undefined) throw badRequest('missing plaintext to encrypt');
  const nonce = randomBytes(NONCE_BYTES);
  const secret = secretOf(key, key.versions.length, context);
  const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(bytesOf(associated));
  const sealed = Buffer.concat([nonce, cipher.update(bytesOf(plaintext)), cipher.final(), cipher.getAuthTag()]);
  return `vault:v${key.versions.length}:${sealed.toString('base64')}`;
}

function decrypt(key: Key, { ciphertext = '', associated_data: associated, context }: Item): Buffer {
  const [, version, text] = CIPHERTEXT.exec(ciphertext) ?? [];
  if (version === undefined) throw badRequest('invalid ciphertext: no prefix');
  const secret = secretOf(key, Number(version), context);
  const sealed = bytesOf(text);
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw badRequest('invalid ciphertext');
  const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(bytesOf(associated)).setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw badRequest('cipher: message authentication failed');
  }
}
