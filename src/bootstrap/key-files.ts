import { createSecureContext } from 'node:tls';
import { parsePublicKeys } from '../authn/pem-keys.ts';
import { ephemeralKeyManagement, openKekFile } from '../crypto/kek-file.ts';
import { ephemeralKeyRing, keyRingFromPem } from '../crypto/key-ring.ts';
import { parseRsaPrivateKey } from '../crypto/rsa-pem.ts';
import type { KeyManagement } from '../domain/key-management.ts';
import type { KeyRing } from '../domain/key-ring.ts';
import type { FilePaths } from './environment.ts';
import { readPrivateText } from './read-private-text.ts';
import { readText } from './read-text.ts';

/** The keys of the process itself, read and checked. */
export interface KeyFiles {
  sessionKeys: KeyRing;
  /** Whether the session keys were made up for this process. */
  sessionKeysAreEphemeral: boolean;
  /** What seals secrets at rest. */
  kek: KeyManagement;
  kekIsEphemeral: boolean;
  /** Signs the checkpoints of the audit chain; null where nothing is sealed. */
  auditKeys: KeyRing | null;
  /** PEM; null trusts the system's authorities. */
  redisCa: string | null;
  tls: { cert: string; key: string } | null;
}

const ISSUER_KEY_FILES = [
  'ASB_K8S_PUBLIC_KEY_FILE',
  'ASB_OIDC_PUBLIC_KEY_FILE',
  'ASB_OPERATOR_PUBLIC_KEY_FILE',
  'ASB_DELEGATION_PUBLIC_KEY_FILE',
] as const satisfies readonly (keyof FilePaths)[];

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
  // Only looked at here: who uses such a key opens it, again with each reload.
  for (const variable of ISSUER_KEY_FILES) await read(variable, files[variable], parsePublicKeys);
  const signing = files.ASB_SESSION_SIGNING_PRIVATE_KEY_FILE;
  const ring = await read('ASB_SESSION_SIGNING_PRIVATE_KEY_FILE', signing, keyRingFromPem);
  const cert = await read('ASB_TLS_CERT_FILE', files.ASB_TLS_CERT_FILE, (pem) => pem);
  const key = await read('ASB_TLS_KEY_FILE', files.ASB_TLS_KEY_FILE, (pem) => pem);
  const auditKeys = await read(
    'ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE',
    files.ASB_AUDIT_SIGNING_PRIVATE_KEY_FILE,
    keyRingFromPem,
  );
  const redisCa = await read('ASB_REDIS_TLS_CA_FILE', files.ASB_REDIS_TLS_CA_FILE, (pem) => pem);
  checkAppKey(files.ASB_GITHUB_APP_PRIVATE_KEY_FILE, problems);
  const kek = openKek(files.ASB_KEK_FILE, problems);
  const tls = cert === null || key === null ? null : { cert, key };
  if (tls !== null && !isUsable(tls)) {
    problems.push('ASB_TLS_CERT_FILE and ASB_TLS_KEY_FILE: must be a PEM certificate and its own private key');
  }
  return {
    sessionKeys: ring ?? (await ephemeralKeyRing()),
    sessionKeysAreEphemeral: ring === null,
    kek: kek ?? ephemeralKeyManagement(),
    kekIsEphemeral: kek === null,
    auditKeys,
    redisCa,
    tls,
  };
}

function openKek(path: string | undefined, problems: string[]): KeyManagement | null {
  try {
    return path === undefined ? null : openKekFile(path);
  } catch (error) {
    problems.push(`ASB_KEK_FILE: ${error instanceof Error ? error.message : 'cannot be read'}`);
    return null;
  }
}

/** Only looked at here: the connector opens it, again with each reload. */
function checkAppKey(path: string | undefined, problems: string[]): void {
  try {
    if (path !== undefined) parseRsaPrivateKey(readPrivateText(path));
  } catch (error) {
    problems.push(`ASB_GITHUB_APP_PRIVATE_KEY_FILE: ${error instanceof Error ? error.message : 'cannot be read'}`);
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
