import { dirname, resolve } from 'node:path';
import { entriesOf } from './entries.ts';
import type { FieldPath } from './problem.ts';
import type { SalvagedFile } from './salvage.ts';

/** What a file must hold. */
export type FileKind =
  | 'public_keys'
  | 'delegation_keys'
  | 'key_set'
  | 'delegation_key_set'
  | 'authorities'
  | 'token'
  | 'secret_url'
  | 'signing_secret'
  | 'secret'
  | 'callback_key'
  | 'app_key';

/** A file that the configuration names. */
export interface FileReference {
  path: FieldPath;
  /** As it was written; from the folder of the configuration file when it does not begin at the root. */
  name: string;
  kind: FileKind;
}

/** The path from which a file that a configuration file names is read. */
export const resolveFrom = (configFile: string, name: string): string => resolve(dirname(configFile), name);

interface Keys {
  pem_file?: string | undefined;
  jwks_file?: string | undefined;
}

/** Every file that is named. */
export function referencedFiles(file: SalvagedFile): readonly FileReference[] {
  return [...namedFiles(file)].flatMap(([path, name, kind]) => (name === undefined ? [] : [{ path, name, kind }]));
}

type NamedFile = readonly [path: FieldPath, name: string | undefined, kind: FileKind];

function* namedFiles(file: SalvagedFile): Generator<NamedFile> {
  for (const [index, { keys, token_review: review }] of entriesOf(file.attestation?.kubernetes)) {
    const path = ['attestation', 'kubernetes', index];
    yield* keyFiles(keys, path);
    yield [[...path, 'token_review', 'ca_file'], review?.ca_file, 'authorities'];
    yield [[...path, 'token_review', 'token_file'], review?.token_file, 'token'];
  }
  for (const [index, { keys }] of entriesOf(file.attestation?.oidc)) yield* keyFiles(keys, ['attestation', 'oidc', index]);
  for (const [index, { keys }] of entriesOf(file.operators)) yield* keyFiles(keys, ['operators', index]);
  for (const [index, { keys }] of entriesOf(file.delegations)) {
    yield [['delegations', index, 'keys', 'pem_file'], keys?.pem_file, 'delegation_keys'];
    yield [['delegations', index, 'keys', 'jwks_file'], keys?.jwks_file, 'delegation_key_set'];
  }
  const vault = ['connectors', 'vault'];
  const { ca_file: ca, login = {} } = file.connectors?.vault ?? {};
  yield [[...vault, 'ca_file'], ca, 'authorities'];
  if ('token_file' in login) yield [[...vault, 'login', 'token_file'], login.token_file, 'secret'];
  if ('jwt_file' in login) yield [[...vault, 'login', 'jwt_file'], login.jwt_file, 'token'];
  if ('secret_id_file' in login) yield [[...vault, 'login', 'secret_id_file'], login.secret_id_file, 'secret'];
  for (const [index, { inputs }] of entriesOf(file.connectors?.browser?.forms)) {
    for (const [at, { value_file: name }] of entriesOf(inputs)) {
      yield [['connectors', 'browser', 'forms', index, 'inputs', at, 'value_file'], name, 'secret'];
    }
  }
  for (const [index, receiver] of entriesOf(file.notifications?.receivers)) {
    const path = ['notifications', 'receivers', index];
    yield [[...path, 'url_file'], receiver.url_file, 'secret_url'];
    yield [[...path, 'secret_file'], receiver.secret_file, 'signing_secret'];
    yield [[...path, 'callback_key_file'], receiver.callback_key_file, 'callback_key'];
  }
  yield [['connectors', 'github', 'app', 'private_key_file'], file.connectors?.github?.app?.private_key_file, 'app_key'];
}

function* keyFiles(keys: Keys | undefined, path: FieldPath): Generator<NamedFile> {
  yield [[...path, 'keys', 'pem_file'], keys?.pem_file, 'public_keys'];
  yield [[...path, 'keys', 'jwks_file'], keys?.jwks_file, 'key_set'];
}
