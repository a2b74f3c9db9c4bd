import { randomBytes } from 'node:crypto';
import nodeVault from 'node-vault';
import { z } from 'zod';
import { startVaultStandIn } from '../../../dev/vault/server.ts';
import { type AskVault, vaultOperator } from '../../../dev/vault/set-up.ts';
import { systemClock } from '../../../src/bootstrap/system-clock.ts';

/** What Vault answers around whatever it says (https://developer.hashicorp.com/vault/api-docs). */
export const envelope = z.object({
  request_id: z.string().min(1),
  lease_id: z.string(),
  renewable: z.boolean(),
  lease_duration: z.int(),
  data: z.record(z.string(), z.unknown()).nullable(),
  wrap_info: z.null(),
  warnings: z.array(z.string()).nullable(),
  auth: z.record(z.string(), z.unknown()).nullable(),
});
export type Envelope = z.infer<typeof envelope>;

export interface Answer {
  status: number;
  /** Null for none. */
  body: unknown;
}

export type Call = (method: string, path: string, body?: object, token?: string) => Promise<Answer>;

/** A Vault to put questions to: the one of ASB_TEST_VAULT_ADDR and ASB_TEST_VAULT_TOKEN, or the stand-in. */
export interface VaultTarget {
  url: string;
  token: string;
  isReal: boolean;
  /** Without a token when it is ''; the operator's unless told otherwise. */
  call: Call;
  ask: AskVault;
  client: (token: string) => ReturnType<typeof nodeVault>;
  /** A name that nothing has there, since a real Vault keeps what tests leave. */
  fresh: (name: string) => string;
  close: () => Promise<void>;
}

export async function openTarget(): Promise<VaultTarget> {
  const { ASB_TEST_VAULT_ADDR: address = '', ASB_TEST_VAULT_TOKEN: realToken = '' } = process.env;
  const isReal = address !== '' && realToken !== '';
  const standIn = isReal ? null : await startVaultStandIn({ clock: systemClock });
  const url = standIn?.url ?? address;
  const token = standIn?.rootToken ?? realToken;
  return {
    url,
    token,
    isReal,
    call: callsTo(url, token),
    ask: vaultOperator(url, token),
    client: (own) => nodeVault({ endpoint: url, token: own }),
    fresh: (name) => `asb-test-${name}-${randomBytes(4).toString('hex')}`,
    close: () => standIn?.close() ?? Promise.resolve(),
  };
}

export const callsTo =
  (url: string, operator: string, headers: Readonly<Record<string, string>> = {}): Call =>
  async (method, path, body, token = operator) => {
    const response = await fetch(`${url}/v1/${path}`, {
      method,
      headers: { ...headers, ...(token !== '' && { 'x-vault-token': token }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
  };

/** The status and the envelope of an answer that has one. */
export function enveloped({ status, body }: Answer): Envelope {
  if (status !== 200) throw new Error(`${status}: ${JSON.stringify(body)}`);
  return envelope.parse(body);
}

/** The errors of an answer; Vault lists them as one text at times. */
export const errorsOf = ({ body }: Answer): string =>
  z
    .object({ errors: z.array(z.string()) })
    .parse(body)
    .errors.join('\n');
