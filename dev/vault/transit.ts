import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { badRequest, envelope, VaultError } from './answers.ts';
import { bodyOf, type Handler, ok, type VaultCall } from './request.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHERTEXT = /^vault:v(\d+):([A-Za-z0-9+/]+=*)$/;
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);

const One = z.object({
  plaintext: base64.optional(),
  ciphertext: z.string().optional(),
  associated_data: base64.optional(),
});
const Body = One.extend({ batch_input: z.array(One).optional() });
type Item = z.infer<typeof One>;

/** A key of `aes256-gcm96`, in its versions; the first is version 1. */
type Key = Buffer[];

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
      const data = { name, type: 'aes256-gcm96', latest_version: key.length, min_decryption_version: 1 };
      return Promise.resolve(ok(envelope({ data })));
    }
    if (call.method !== 'POST' || name === '') return Promise.resolve(null);
    switch (`${area}${detail === undefined ? '' : `/${detail}`}`) {
      case 'keys':
        if (!keys.has(name)) keys.set(name, [randomBytes(32)]);
        return Promise.resolve('no_content');
      case 'keys/rotate':
        keyNamed(name).push(randomBytes(32));
        return Promise.resolve('no_content');
      case 'encrypt':
        return Promise.resolve(
          many(call, (item) => {
            const key = keyNamed(name);
            return { ciphertext: encrypt(key, item), key_version: key.length };
          }),
        );
      case 'decrypt':
        return Promise.resolve(many(call, (item) => ({ plaintext: decrypt(keyNamed(name), item).toString('base64') })));
      case 'rewrap':
        return Promise.resolve(
          many(call, (item) => {
            const key = keyNamed(name);
            const plaintext = decrypt(key, item).toString('base64');
            return { ciphertext: encrypt(key, { ...item, plaintext }), key_version: key.length };
          }),
        );
      default:
        return Promise.resolve(null);
    }
  };
}

const bytesOf = (text = ''): Buffer => Buffer.from(text, 'base64');

function encrypt(key: Key, { plaintext, associated_data: associated }: Item): string {
  if (plaintext === undefined) throw badRequest('missing plaintext to encrypt');
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key.at(-1) ?? '', nonce).setAAD(bytesOf(associated));
  const sealed = Buffer.concat([nonce, cipher.update(bytesOf(plaintext)), cipher.final(), cipher.getAuthTag()]);
  return `vault:v${key.length}:${sealed.toString('base64')}`;
}

function decrypt(key: Key, { ciphertext = '', associated_data: associated }: Item): Buffer {
  const [, version, text] = CIPHERTEXT.exec(ciphertext) ?? [];
  if (version === undefined) throw badRequest('invalid ciphertext: no prefix');
  const secret = key[Number(version) - 1];
  const sealed = bytesOf(text);
  if (secret === undefined || sealed.length < NONCE_BYTES + TAG_BYTES) throw badRequest('invalid ciphertext');
  const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(bytesOf(associated)).setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw badRequest('cipher: message authentication failed');
  }
}
