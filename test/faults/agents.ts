import { type JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import { mintProjectedToken } from '../support/attestations.ts';
import type { Operators } from '../support/operators.ts';
import { base64Decode } from '@bufbuild/protobuf/wire';
import type { CallOptions, MethodName, TransportClient } from '../support/transports.ts';

/** What became of one call: it was acknowledged, it was refused, or the connection broke and nobody knows. */
export type Answer<Body> = { kind: 'done'; body: Body } | { kind: 'refused'; code: string } | { kind: 'broken' };

const session = z.object({ session_id: z.string(), session_token: z.string() });
const grant = z.object({
  grant_id: z.string(),
  state: z.string(),
  approval_id: z.string().optional(),
  delivery: z.object({ handle: z.string().optional(), token: z.string().optional(), artifact_id: z.string() }).optional(),
});
const fields = z.array(z.object({ name: z.string(), value: z.string() }));
const secret = z.object({ artifact_id: z.string(), fields }).transform(({ fields: all }) => {
  const password = all.find(({ name }) => name === 'password')?.value;
  if (password === undefined) throw new Error('a secret without a password');
  return password;
});
const state = z.object({ state: z.string() });
const proxied = z
  .object({ payload: z.string() })
  .transform(({ payload }) => new TextDecoder().decode(base64Decode(payload)));

export type GrantBody = z.infer<typeof grant>;
/** A session, as its agent knows it. */
export interface Agent {
  tenant: string;
  sessionId: string;
  token: string;
}

/** The calls of agents, and of those who operate. `client` is the way to one process. */
export class Calls {
  /** How many were answered, and how many of these acknowledged. */
  done = 0;
  acknowledged = 0;
  readonly #operators: Operators;

  constructor(operators: Operators) {
    this.#operators = operators;
  }

  async openSession(
    client: TransportClient,
    tenant: string,
    { claims = {}, runId = 'run-1' }: { claims?: Readonly<Record<string, unknown>>; runId?: string } = {},
  ): Promise<Answer<Agent>> {
    const token = await mintProjectedToken({ now: new Date(), claims });
    const request = {
      tenant_id: tenant,
      agent_id: 'reviewer',
      run_id: runId,
      tool_context: ['github', 'db'],
      attestation: { kind: 'k8s_sa_jwt', token },
    };
    const answer = await this.#ask(session, client, 'createSession', request);
    if (answer.kind !== 'done') return answer;
    const { session_id: sessionId, session_token: bearer } = answer.body;
    return { kind: 'done', body: { tenant, sessionId, token: bearer } };
  }

  /** Asks for a handle, a wrapped secret or a token. The same request id is the same request. */
  requestGrant(
    client: TransportClient,
    { token: bearer }: Agent,
    kind: 'proxy' | 'wrapped_secret' | 'minted_token',
    requestId: string,
    ttlSeconds = 600,
  ): Promise<Answer<GrantBody>> {
    const what =
      kind === 'proxy'
        ? { tool: 'github', capability: 'repo.read', resource_ref: 'github:repo:acme/widgets' }
        : { tool: 'db', capability: kind === 'minted_token' ? 'db.token' : 'db.read', resource_ref: 'dbrole:reporting' };
    const request = { ...what, delivery_mode: kind, ttl_seconds: ttlSeconds, reason: 'a test', request_id: requestId };
    return this.#ask(grant, client, 'requestGrant', request, { bearer });
  }

  getGrant(client: TransportClient, { token: bearer }: Agent, grantId: string): Promise<Answer<GrantBody>> {
    return this.#ask(grant, client, 'getGrant', { grant_id: grantId }, { bearer });
  }

  /** Answers the password. */
  unwrap(client: TransportClient, { token: bearer }: Agent, artifactId: string): Promise<Answer<string>> {
    return this.#ask(secret, client, 'unwrapArtifact', { artifact_id: artifactId }, { bearer });
  }

  /** One call of a tool, which GitHub knows by the page that it asks for. */
  proxied(client: TransportClient, handle: string, page: number): Promise<Answer<string>> {
    const request = { proxy_handle: handle, operation: 'repository_issues', params: { page, per_page: 1 } };
    return this.#ask(proxied, client, 'executeGitHubProxy', request);
  }

  async approve(client: TransportClient, approvalId: string, subject: string): Promise<Answer<{ state: string }>> {
    const bearer = await this.#operator('approver', subject);
    return this.#ask(state, client, 'approveGrant', { approval_id: approvalId }, { bearer });
  }

  revokeGrant(client: TransportClient, { token: bearer }: Agent, grantId: string): Promise<Answer<{ state: string }>> {
    return this.#ask(state, client, 'revokeGrant', { grant_id: grantId, reason: 'a test' }, { bearer });
  }

  /** By an operator, who hears whether it is revoked already. */
  async revokeSession(client: TransportClient, { sessionId }: Agent): Promise<Answer<{ state: string }>> {
    const bearer = await this.#operator('operator', 'olga');
    return this.#ask(state, client, 'revokeSession', { session_id: sessionId, reason: 'a test' }, { bearer });
  }

  async revokeRun(client: TransportClient, tenant: string, runId: string): Promise<Answer<unknown>> {
    const bearer = await this.#operator('operator', 'olga');
    return this.#ask(z.object({}), client, 'revokeRun', { tenant_id: tenant, run_id: runId, reason: 'a test' }, { bearer });
  }

  async #ask<Body extends z.ZodType>(
    body: Body,
    client: TransportClient,
    method: MethodName,
    request: JsonValue,
    options: CallOptions = {},
  ): Promise<Answer<z.output<Body>>> {
    try {
      const result = await client.call(method, request, options);
      this.done += 1;
      if (!result.ok) return { kind: 'refused', code: result.code };
      this.acknowledged += 1;
      return { kind: 'done', body: body.parse(result.body) };
    } catch (error) {
      // Those of the network have a code.
      if (error instanceof Error && 'code' in error) return { kind: 'broken' };
      throw error;
    }
  }

  #operator(role: string, subject: string): Promise<string> {
    return this.#operators.token({ now: new Date(), roles: [role], subject });
  }
}

/** What must have been acknowledged. */
export function bodyOf<Body>(answer: Answer<Body>): Body {
  if (answer.kind === 'done') return answer.body;
  throw new Error(answer.kind === 'broken' ? 'the connection broke' : `refused: ${answer.code}`);
}
