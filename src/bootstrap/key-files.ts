import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { parsePublicKeys, type VerificationKey } from '../authn/pem-keys.ts';
import { ephemeralKeyRing, keyRingFromPem } from '../crypto/key-ring.ts';
import type { KeyRing } from '../domain/key-ring.ts';
import type { FilePaths } from './environment.ts';

/** Every key the environment names, read and checked. */
export interface KeyFiles {
  k8sKeys: readonly VerificationKey[];
  sessionKeys: KeyRing;
  /** Whether the session keys were made up for this process. */
  sessionKeysAreEphemeral: boolean;
  tls: { cert: string; key: string } | null;
}

/** Reads the key files. Adds to `problems` each that is missing or wrong; what it answers then is of no use. */
export async function readKeyFiles(files: FilePaths, problems: string[]): Promise<KeyFiles> {
  const read = async <T>(variable: keyof FilePaths, path: string | undefined, parse: (pem: string) => T | Promise<T>) => {
    try {
      return path === undefined ? null : await parse(readText(path));
    } catch (error) {
      problems.push(`${variable}: ${error instanceof Error ? error.message : 'cannot be read'}`);
      return null;
    }
  };
  const k8sKeys = await read('ASB_K8S_PUBLIC_KEY_FILE', files.ASB_K8S_PUBLIC_KEY_FILE, parsePublicKeys);
  const signing = files.ASB_SESSION_SIGNING_PRIVATE_KEY_FILE;
  const ring = await read('ASB_SESSION_SIGNING_PRIVATE_KEY_FILE', signing, keyRingFromPem);
  const cert = await read('ASB_TLS_CERT_FILE', files.ASB_TLS_CERT_FILE, (pem) => pem);
  const key = await read('ASB_TLS_KEY_FILE', files.ASB_TLS_KEY_FILE, (pem) => pem);
  const tls = cert === null || key === null ? null : { cert, key };
  if (tls !== null && !isUsable(tls)) {
    problems.push('ASB_TLS_CERT_FILE and ASB_TLS_KEY_FILE: must be a PEM certificate and its own private key');
  }
  return {
    k8sKeys: k8sKeys ?? [],
    sessionKeys: ring ?? (await ephemeralKeyRing()),
    sessionKeysAreEphemeral: ring === null,
    tls,
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new Error(`the file cannot be read (${code})`, { cause });
  }
}

function isUsable(tls: { cert: string; key: string }): boolean {
  try {
    createSecureContext(tls);
    return true;
  } catch {
    return false;
  }
}
