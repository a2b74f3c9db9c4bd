import { calculateJwkThumbprint, CompactEncrypt, exportJWK, importJWK, importSPKI, type JWK } from 'jose';
import { z } from 'zod';
import type { RelayPublicKey, RelaySealer } from '../domain/browser-relay.ts';
import { invalidRequest } from '../domain/errors.ts';

const RULE =
  'public_key: must be a public key as JWK (RFC 7517): {"kty":"OKP","crv":"X25519","x":...} or {"kty":"EC","crv":"P-256","x":...,"y":...}; or such a key as PEM (SPKI)';
const PEM = '-----BEGIN PUBLIC KEY-----';
/** https://www.rfc-editor.org/rfc/rfc7518#section-4.6: agreed directly, so that the agreed key encrypts the content. */
const AGREEMENT = 'ECDH-ES';
const CONTENT = 'A256GCM';

/** 32 bytes, base64url. */
const coordinate = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
// A private key, which has `d`, is no relay's to show.
const common = { use: z.literal('enc').optional(), alg: z.literal(AGREEMENT).optional(), d: z.undefined().optional() };
const jwk = z.discriminatedUnion('kty', [
  z.looseObject({ ...common, kty: z.literal('OKP'), crv: z.literal('X25519'), x: coordinate }),
  z.looseObject({ ...common, kty: z.literal('EC'), crv: z.literal('P-256'), x: coordinate, y: coordinate }),
]);
const stored = z.record(z.string(), z.string());

/**
 * Seals values as compact JWE (RFC 7516), by ECDH-ES over X25519 or P-256 and A256GCM. What a value is for stands in the protected header, in
 * members of its own, so that a value that was put elsewhere opens nowhere unnoticed.
 */
export function makeRelaySealer(): RelaySealer {
  return {
    async readKey(text) {
      const parsed = jwk.safeParse(text.startsWith(PEM) ? await fromPem(text) : parseJson(text));
      if (!parsed.success) throw invalidRequest(RULE);
      const { kty, crv, x } = parsed.data;
      const members: JWK = parsed.data.kty === 'EC' ? { crv, kty, x, y: parsed.data.y } : { crv, kty, x };
      try {
        // A point that is not on its curve is seen when it is imported; one of small order only by agreeing with it (RFC 7748 section 6.1).
        await sealTo(members, '', {});
      } catch {
        throw invalidRequest(RULE);
      }
      const thumbprint = await calculateJwkThumbprint(members);
      return { publicKey: JSON.stringify(members) as RelayPublicKey, thumbprint };
    },

    async seal(value, publicKey, { artifactId, keyId, origin, tabId, name, selector }) {
      const members = stored.parse(JSON.parse(publicKey));
      return sealTo(members, value, { kid: keyId, artifact_id: artifactId, origin, tab_id: tabId, name, selector });
    },
  };
}

async function sealTo(members: JWK, value: string, binding: Readonly<Record<string, string>>): Promise<string> {
  const key = await importJWK(members, AGREEMENT);
  const header = { ...binding, alg: AGREEMENT, enc: CONTENT };
  return new CompactEncrypt(new TextEncoder().encode(value)).setProtectedHeader(header).encrypt(key);
}

/** Undefined for what is no such key. */
async function fromPem(text: string): Promise<JWK | undefined> {
  try {
    return await exportJWK(await importSPKI(text, AGREEMENT, { extractable: true }));
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
