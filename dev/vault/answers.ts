import { randomUUID } from 'node:crypto';

/** An answer of Vault's that is no success (https://developer.hashicorp.com/vault/api-docs#error-response). */
export class VaultError extends Error {
  readonly status: number;
  readonly errors: readonly string[];

  constructor(status: number, ...errors: string[]) {
    super(errors.join('; '));
    this.status = status;
    this.errors = errors;
  }
}

export const permissionDenied = (): VaultError => new VaultError(403, 'permission denied');
export const notFound = (): VaultError => new VaultError(404);
export const noHandler = (path: string): VaultError =>
  new VaultError(404, `no handler for route "${path}". route entry not found.`);
export const badRequest = (text: string): VaultError => new VaultError(400, text);
/** How Vault words what went wrong on its side, or at a system that it asked. */
export const failed = (text: string): VaultError => new VaultError(500, `1 error occurred:\n\t* ${text}\n\n`);

/** What a login, or a token that was made or renewed, answers with. */
export interface Auth {
  client_token: string;
  accessor: string;
  policies: readonly string[];
  token_policies: readonly string[];
  metadata: Readonly<Record<string, string>> | null;
  lease_duration: number;
  renewable: boolean;
  entity_id: string;
  token_type: 'service';
  orphan: boolean;
  mfa_requirement: null;
  num_uses: number;
}

export interface Envelope {
  lease_id?: string;
  renewable?: boolean;
  lease_duration?: number;
  data?: unknown;
  warnings?: readonly string[] | null;
  auth?: Auth | null;
}

/** What every answer with a body has around what it says. */
export const envelope = (parts: Envelope) => ({
  request_id: randomUUID(),
  lease_id: '',
  renewable: false,
  lease_duration: 0,
  data: null,
  wrap_info: null,
  warnings: null,
  auth: null,
  mount_type: '',
  ...parts,
});
