import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A key of development. */
export interface DevKey {
  privateKey: KeyObject;
  /** PEM (SPKI), for the broker's environment. */
  publicKeyFile: string;
}

const OWNER_ONLY = 0o600;

/** The Ed25519 key in `FOLDER/NAME.pem`, made on first use, with its public half beside it in `FOLDER/NAME.pub.pem`. */
export function devKey(folder: string, name: string): DevKey {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const privateKeyFile = join(folder, `${name}.pem`);
  const publicKeyFile = join(folder, `${name}.pub.pem`);
  if (!existsSync(privateKeyFile)) makeKey(privateKeyFile);
  const privateKey = createPrivateKey(readFileSync(privateKeyFile));
  // Written anew each time, so that it is never another key's.
  writeFileSync(publicKeyFile, createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }), { mode: OWNER_ONLY });
  return { privateKey, publicKeyFile };
}

/** Puts the file there whole, unless somebody else was quicker. */
function makeKey(file: string): void {
  const draft = `${file}.${process.pid}`;
  const pem = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(draft, pem, { mode: OWNER_ONLY });
  try {
    linkSync(draft, file);
  } catch (error) {
    if (!existsSync(file)) throw error;
  } finally {
    rmSync(draft);
  }
}
