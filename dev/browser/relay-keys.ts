import { calculateJwkThumbprint, compactDecrypt, exportJWK, generateKeyPair } from 'jose';

/** One input to fill in, as unwrapping answers it. */
export interface FilledField {
  name: string;
  selector: string;
  value: string;
}

/** Where a relay waits. */
export interface RelayPlace {
  origin: string;
  tabId: string;
}

/** The key pair of a browser relay; the private half never leaves it. */
export interface RelayKeys {
  keyId: string;
  /** The public half, as it is registered. */
  publicKey: string;
  /** RFC 7638. */
  thumbprint: string;
  /** The value in the clear. Rejects when it was sealed to another key, or for another artifact, place or input. */
  open(field: FilledField, artifactId: string, place: RelayPlace): Promise<string>;
}

export async function makeRelayKeys(keyId: string, curve: 'X25519' | 'P-256' = 'X25519'): Promise<RelayKeys> {
  const { publicKey, privateKey } = await generateKeyPair('ECDH-ES', { crv: curve, extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    keyId,
    publicKey: JSON.stringify(jwk),
    thumbprint: await calculateJwkThumbprint(jwk),
    async open({ name, selector, value }, artifactId, { origin, tabId }) {
      const { plaintext, protectedHeader } = await compactDecrypt(value, privateKey);
      const expected = { kid: keyId, artifact_id: artifactId, origin, tab_id: tabId, name, selector };
      for (const [member, text] of Object.entries(expected)) {
        if (protectedHeader[member] !== text) throw new Error(`the value of ${name} was sealed for another ${member}`);
      }
      return new TextDecoder().decode(plaintext);
    },
  };
}
