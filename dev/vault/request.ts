import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { badRequest, permissionDenied } from './answers.ts';
import type { Capability } from './policies.ts';
import type { Token } from './tokens.ts';

/** One request that Vault handles, below `/v1/`. */
export interface VaultCall {
  method: 'GET' | 'POST' | 'LIST' | 'DELETE';
  /** Decoded, without a slash at its begin. */
  path: string;
  body: unknown;
  /** Null for what needs none. */
  token: Token | null;
}

/** Answers a call, or null when the path is not its own. Undefined is an answer without a body: 204. */
export type Handler = (call: VaultCall) => Promise<Answer | null>;
export type Answer = { status: number; body: unknown } | 'no_content';

export const ok = (body: unknown): Answer => ({ status: 200, body });

/** The body as a schema has it; fields that it does not name are ignored, as Vault does. Throws a VaultError. */
export function bodyOf<Schema extends z.ZodType>({ body }: VaultCall, schema: Schema): z.output<Schema> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badRequest(`error converting input for field "${issue?.path.join('.') ?? ''}"`);
}

export function tokenOf({ token }: VaultCall): Token {
  if (token === null) throw permissionDenied();
  return token;
}

/** What a policy must grant for a method (https://developer.hashicorp.com/vault/docs/concepts/policies#capabilities). */
export const CAPABILITY_OF: Readonly<Record<VaultCall['method'], Capability>> = {
  GET: 'read',
  POST: 'update',
  LIST: 'list',
  DELETE: 'delete',
};

const bearer = /^Bearer (.+)$/;

/** The token that a request shows, in the header of Vault's own or as a bearer. */
export function presentedToken({ headers }: FastifyRequest): string {
  const own = headers['x-vault-token'];
  if (typeof own === 'string' && own !== '') return own;
  return bearer.exec(headers.authorization ?? '')?.[1] ?? '';
}

export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  if (answer === 'no_content') return reply.code(204).send();
  if (answer.body === null) return reply.code(answer.status).send();
  return reply.code(answer.status).type('application/json').send(JSON.stringify(answer.body));
}
