import type { LookupFunction } from 'node:net';
import { Agent, request } from 'undici';
import { z } from 'zod';

/** What Vault answers is a page at most: https://developer.hashicorp.com/vault/docs/internals/limits. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What node-vault hands to whatever sends its requests: `uri`, `method`, `headers`, the body as `json`, and what the caller adds. */
const Options = z.object({
  uri: z.string(),
  method: z.string(),
  headers: z.record(z.string(), z.string()),
  json: z.union([z.boolean(), z.record(z.string(), z.unknown())]).optional(),
  signal: z.instanceof(AbortSignal),
});

/** An answer as node-vault reads it, and the headers, which it drops. */
export interface TransportAnswer {
  statusCode: number;
  body: unknown;
  request: { path: string };
}

export interface VaultTransportConfig {
  lookup: LookupFunction;
  /** PEM; null trusts the system's authorities. */
  authorities: string | null;
}

/**
 * Sends node-vault's requests, in the place of its axios: axios follows redirects with the token in their headers, to whatever host they name.
 * Nothing is followed here, an answer is cut off at 1 MiB, and a signal ends the exchange.
 */
export function makeVaultTransport({ lookup, authorities }: VaultTransportConfig) {
  const dispatcher = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { lookup, ...(authorities !== null && { ca: authorities }) },
  });
  return async (options: unknown): Promise<TransportAnswer> => {
    const { uri, method, headers, json, signal } = Options.parse(options);
    const body = typeof json === 'object' ? JSON.stringify(json) : null;
    const answer = await request(uri, {
      dispatcher,
      method: method as 'GET',
      headers: { ...headers, ...(body !== null && { 'content-type': 'application/json' }) },
      body,
      signal,
    });
    return {
      statusCode: answer.statusCode,
      body: parseJson(await readText(answer.body)),
      request: { path: new URL(uri).pathname },
    };
  };
}

async function readText(body: AsyncIterable<unknown>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    if (!(chunk instanceof Uint8Array)) throw new Error('a body that is no bytes');
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new Error('an answer that is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
