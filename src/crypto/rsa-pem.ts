import { createPrivateKey, type KeyObject } from 'node:crypto';
import { Secret } from '../domain/secret.ts';

const MIN_BITS = 2048;
const HOW_TO_MAKE_ONE = 'it must be the private key that GitHub gave out for the App';

/**
 * Reads an RSA private key from PEM text, PKCS#1 as GitHub gives it out or PKCS#8 (RFC 7468, RFC 8017), and answers it as PKCS#8 PEM.
 * Throws an Error that says what is wrong with it and holds nothing of it.
 */
export function parseRsaPrivateKey(pem: string): Secret {
  const key = decode(pem);
  if (key.asymmetricKeyType !== 'rsa') {
    throw new Error(`the key file holds a key of kind ${key.asymmetricKeyType ?? 'unknown'}, not RSA; ${HOW_TO_MAKE_ONE}`);
  }
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_BITS) {
    throw new Error(`the key file holds an RSA key of fewer than ${MIN_BITS} bits; ${HOW_TO_MAKE_ONE}`);
  }
  return new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString());
}

function decode(pem: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem' });
  } catch (cause) {
    throw new Error(`the key file cannot be decoded as a PEM private key without passphrase; ${HOW_TO_MAKE_ONE}`, { cause });
  }
}
