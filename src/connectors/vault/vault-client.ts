import type { client as NodeVault } from 'node-vault';
import { z } from 'zod';
import type { Secret } from '../../domain/secret.ts';
import { makeVaultTransport, type VaultTransportConfig } from './vault-transport.ts';

export interface VaultClientConfig extends VaultTransportConfig {
  /** `https://HOST:8200`. */
  address: URL;
  /** Empty for the root namespace (https://developer.hashicorp.com/vault/docs/enterprise/namespaces). */
  namespace: string;
}

export interface VaultRequest {
  method: 'GET' | 'POST';
  /** Below `/v1/`, without a slash at its begin; each part percent-encoded. */
  path: string;
  /** Null for a login. */
  token: Secret | null;
  body?: Readonly<Record<string, unknown>>;
  signal: AbortSignal;
}

/** Vault answered, and not with a yes (https://developer.hashicorp.com/vault/api-docs#http-status-codes). Holds nothing of its words but whether they name a missing lease. */
export class VaultRefusal extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`Vault answered ${status}`);
    this.name = 'VaultRefusal';
    this.status = status;
  }
}

/** What Vault answered is not what its documentation says. */
export class MalformedVaultAnswer extends Error {
  constructor(path: string, fields: readonly string[]) {
    super(`Vault's answer to ${path} is malformed: ${fields.join(', ')}`);
    this.name = 'MalformedVaultAnswer';
  }
}

/** What a connection ends with before a byte of a request has left. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ASB_REFUSED_ADDRESS',
]);

/** No answer came, or it broke off. What was asked for may have happened, unless `wasAsked` says no. */
export class VaultSilence extends Error {
  readonly wasAsked: boolean;

  constructor(kind: string) {
    super(`Vault could not be reached or broke off its answer: ${kind}`);
    this.name = 'VaultSilence';
    this.wasAsked = !NOT_CONNECTED.has(kind);
  }
}

/** Asks Vault by its HTTP API, as node-vault words the requests. */
export interface VaultClient {
  /** Answers the body. Rejects with `VaultRefusal`, `MalformedVaultAnswer` or `VaultSilence`, none of which holds a token or a body. */
  ask<Body extends z.ZodType>(body: Body, request: VaultRequest): Promise<z.output<Body>>;
}

const refused = z.object({ response: z.object({ statusCode: z.int() }) });
const coded = z.object({ code: z.string() });
const silent = (): void => undefined;

export function makeVaultClient({ address, namespace, ...transport }: VaultClientConfig): VaultClient {
  const open = async (): Promise<NodeVault> => {
    // Loaded with the first request: without a Vault it would be seven megabytes of nothing.
    const { default: vault } = await import('node-vault');
    const client = vault({
      endpoint: address.href.replace(/\/+$/, ''),
      'request-promise': { defaults: () => makeVaultTransport(transport) },
      // It prints tokens and secrets when somebody sets DEBUG.
      debug: silent,
    });
    // Where these are not given, it takes them from VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX, which are nothing of ASB's.
    return Object.assign(client, { token: '', namespace, pathPrefix: '' });
  };
  let opened: Promise<NodeVault> | null = null;
  return {
    async ask(body, { method, path, token, body: json, signal }) {
      const headers = { 'X-Vault-Request': 'true', ...(token !== null && { 'X-Vault-Token': token.reveal() }) };
      const client = await (opened ??= open());
      let answer: unknown;
      try {
        answer = await client.request({ method, path: `/${path}`, headers, ...(json !== undefined && { json }), signal });
      } catch (error) {
        const { data } = refused.safeParse(error);
        // Without the cause: it may quote the headers, or the answer.
        throw data === undefined ? new VaultSilence(kindOf(error)) : new VaultRefusal(data.response.statusCode);
      }
      const parsed = body.safeParse(answer);
      if (parsed.success) return parsed.data;
      throw new MalformedVaultAnswer(path, [...new Set(parsed.error.issues.map((issue) => issue.path.join('.')))]);
    },
  };
}

function kindOf(error: unknown): string {
  const { data } = coded.safeParse(error);
  if (data !== undefined) return data.code;
  return error instanceof Error ? error.name : 'unknown failure';
}

/** A part of a path, which cannot be another path. */
export const segment = (text: string): string => encodeURIComponent(text);

/** A path of several parts, such as a mount. */
export const segments = (path: string): string => path.split('/').map(segment).join('/');
