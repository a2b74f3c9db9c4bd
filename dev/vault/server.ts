import type { IncomingMessage, ServerResponse } from 'node:http';
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../../src/domain/clock.ts';
import { badRequest, failed, noHandler, permissionDenied, VaultError } from './answers.ts';
import { appRoleMethod, kubernetesMethod, tokenMethod } from './auth-methods.ts';
import { DatabaseEngine } from './database.ts';
import { kvEngine } from './kv.ts';
import { Leases } from './leases.ts';
import { allows, DEFAULT_POLICY, type Policy } from './policies.ts';
import { type Answer, CAPABILITY_OF, type Handler, presentedToken, send, type VaultCall } from './request.ts';
import {
  health,
  leaseCalls,
  mountCalls,
  type Mounts,
  policyCalls,
  sealCalls,
  sealStatus,
  type SealStatus,
  unseal,
} from './system.ts';
import { newRootToken, type Token, Tokens } from './tokens.ts';
import { transitEngine } from './transit.ts';

/** Answers a request in the place of what Vault would. */
export type ScriptedAnswer = (request: IncomingMessage, response: ServerResponse) => void;

export interface RecordedRequest {
  method: string;
  path: string;
  namespace: string;
  /** Whether it showed a token. */
  isAuthenticated: boolean;
}

export interface VaultStandIn {
  /** `http://127.0.0.1:PORT`. */
  url: string;
  rootToken: string;
  unsealKey: string;
  /** What arrived so far, oldest first. */
  requests: readonly RecordedRequest[];
  status: SealStatus;
  /**
   * What the next request for a path that fits meets: an answer in the place of Vault's; or, `after` its effect, in the place of the answer that
   * Vault would have given.
   */
  answerNext(path: RegExp, answer: ScriptedAnswer, when?: 'instead' | 'after'): void;
  /** Leases that are good, by their ids. */
  leaseIds(): readonly string[];
  /** Resolves when leases that have run out, or whose revocation nobody waits for, are gone. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

interface Script {
  path: RegExp;
  answer: ScriptedAnswer;
  when: 'instead' | 'after';
}

/** What answers without a token (https://developer.hashicorp.com/vault/api-docs#authentication): logins. */
const LOGIN = /^auth\/.+\/login$/;
/** What asks for `sudo` besides (https://developer.hashicorp.com/vault/docs/concepts/policies#root-protected-api-endpoints). */
const ROOT_PROTECTED =
  /^(sys\/(leases\/)?revoke-prefix\/|sys\/leases\/lookup\/|sys\/auth\/|sys\/seal$|auth\/token\/create-orphan$)/;
const UNSEAL_KEY = Buffer.from('one share of the key of development').toString('base64');
const leased = z.object({ lease_id: z.string().min(1) });
const METHODS: Readonly<Record<string, VaultCall['method']>> = {
  GET: 'GET',
  POST: 'POST',
  PUT: 'POST',
  DELETE: 'DELETE',
};

/** One namespace, or a Vault without any: its tokens, leases, policies and mounts. */
class Realm {
  readonly leases: Leases;
  readonly tokens: Tokens;
  readonly #policies = new Map<string, Policy>([['default', DEFAULT_POLICY]]);
  readonly #mounts: Mounts = new Map();
  readonly #system: readonly Handler[];
  readonly #engines: DatabaseEngine[] = [];

  constructor(clock: Clock, rootToken: string, status: SealStatus) {
    this.leases = new Leases(clock, () => status.sealed);
    this.tokens = new Tokens(clock, this.leases, rootToken);
    this.#mounts.set('auth/token', tokenMethod(this.tokens));
    const make = (type: string, path: string): Handler | null => {
      switch (type) {
        case 'mounts:database': {
          const engine = new DatabaseEngine(path, clock, this.leases);
          this.#engines.push(engine);
          return engine.handle;
        }
        case 'mounts:kv':
          return kvEngine(path, clock);
        case 'mounts:transit':
          return transitEngine(path);
        case 'auth:approle':
          return appRoleMethod(path, this.tokens, clock);
        case 'auth:kubernetes':
          return kubernetesMethod(path, this.tokens, clock);
        default:
          return null;
      }
    };
    this.#system = [leaseCalls(this.leases), policyCalls(this.#policies), mountCalls(this.#mounts, make), sealCalls(status)];
  }

  async handle(call: Omit<VaultCall, 'token'>, presented: string): Promise<Answer> {
    if (LOGIN.test(call.path) && call.method === 'POST') return this.#answer({ ...call, token: null });
    const token = this.tokens.use(presented);
    let isLast = false;
    let answer: Answer;
    try {
      answer = await this.#answer({ ...call, token: this.#allowed(token, call) });
    } finally {
      isLast = await this.tokens.used(token);
    }
    if (isLast && answer !== 'no_content' && leased.safeParse(answer.body).success) {
      throw badRequest('Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.');
    }
    return answer;
  }

  async #answer(call: VaultCall): Promise<Answer> {
    const mounted = [...this.#mounts].find(([mount]) => call.path.startsWith(`${mount}/`));
    for (const handler of mounted === undefined ? this.#system : [mounted[1]]) {
      const answer = await handler(call);
      if (answer !== null) return answer;
    }
    throw noHandler(call.path);
  }

  async close(): Promise<void> {
    this.tokens.close();
    await this.leases.settled();
    this.leases.close();
    await Promise.all(this.#engines.map((engine) => engine.close()));
  }

  #allowed(token: Token, { path, method }: Omit<VaultCall, 'token'>): Token {
    if (token.policies.includes('root')) return token;
    const policies = token.policies.flatMap((name) => this.#policies.get(name) ?? []);
    const capability = CAPABILITY_OF[method];
    const isAllowed = allows(policies, path, capability) || (capability === 'update' && allows(policies, path, 'create'));
    if (!isAllowed || (ROOT_PROTECTED.test(path) && !allows(policies, path, 'sudo'))) throw permissionDenied();
    return token;
  }
}

/**
 * Starts a local stand-in for the part of Vault's HTTP API that ASB uses (https://developer.hashicorp.com/vault/api-docs): it keeps nothing, and
 * the users that it makes are real ones, of a real Postgres.
 */
export async function startVaultStandIn({
  clock,
  namespaces = [],
}: {
  clock: Clock;
  namespaces?: readonly string[];
}): Promise<VaultStandIn> {
  const app = fastify({ forceCloseConnections: true });
  const rootToken = newRootToken();
  const status: SealStatus = {
    sealed: false,
    initialized: true,
    standby: false,
    performanceStandby: false,
    drSecondary: false,
  };
  const realms = new Map(['', ...namespaces].map((name) => [name, new Realm(clock, rootToken, status)]));
  const requests: RecordedRequest[] = [];
  const scripts: Script[] = [];

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const path = pathOf(request);
    const namespace = String(request.headers['x-vault-namespace'] ?? '').replace(/\/$/, '');
    const presented = presentedToken(request);
    requests.push({ method: request.method, path, namespace, isAuthenticated: presented !== '' });
    const script = take(scripts, path);
    if (script?.when === 'instead') return scripted(script, request, reply);
    if (path === 'sys/health')
      return send(reply, health(status, Object(request.query) as Record<string, unknown>, clock.now()));
    if (path === 'sys/seal-status') return send(reply, { status: 200, body: sealStatus(status) });
    if (path === 'sys/unseal' && METHODS[request.method] === 'POST') {
      return send(reply, unseal(status, UNSEAL_KEY, request.body));
    }
    if (status.sealed) throw new VaultError(503, 'Vault is sealed');
    const realm = realms.get(namespace);
    if (realm === undefined) throw new VaultError(404, 'namespace not found');
    const method = METHODS[request.method];
    if (method === undefined) throw new VaultError(405, 'unsupported operation');
    // Node knows no method LIST; Vault takes this in its place.
    const isList = method === 'GET' && /[?&]list=true\b/.test(request.url);
    const result = await realm.handle({ method: isList ? 'LIST' : method, path, body: request.body }, presented);
    return script === undefined ? send(reply, result) : scripted(script, request, reply);
  };

  // A body is JSON whatever its type says, and may be left out.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => {
    try {
      done(null, text === '' ? null : JSON.parse(String(text)));
    } catch {
      done(new VaultError(400, 'failed to parse JSON input'));
    }
  });
  app.setErrorHandler((error, _request, reply) => {
    const { status: code, errors } = error instanceof VaultError ? error : failed('internal error');
    return reply.code(code).type('application/json').send(JSON.stringify({ errors }));
  });
  app.setNotFoundHandler((request, reply) => reply.code(404).send({ errors: [`no handler for route "${request.url}"`] }));
  app.route({ method: ['GET', 'POST', 'PUT', 'DELETE'], url: '/v1/*', handler: answer });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    url: app.listeningOrigin,
    rootToken,
    unsealKey: UNSEAL_KEY,
    requests,
    status,
    answerNext: (path, scriptedAnswer, when = 'instead') => void scripts.push({ path, answer: scriptedAnswer, when }),
    leaseIds: () => [...realms.values()].flatMap(({ leases }) => leases.ids),
    async settled() {
      for (const { leases } of realms.values()) await leases.settled();
    },
    async close() {
      await app.close();
      await Promise.all([...realms.values()].map((realm) => realm.close()));
    },
  };
}

/** Below `/v1/`, decoded; the version that KV reads is a part of it. */
function pathOf(request: FastifyRequest): string {
  const url = new URL(request.url, 'http://vault');
  const version = url.searchParams.get('version');
  const path = decodeURIComponent(url.pathname.slice('/v1/'.length));
  return version === null ? path : `${path}?version=${version}`;
}

function take(scripts: Script[], path: string): Script | undefined {
  const at = scripts.findIndex((script) => script.path.test(path));
  return at === -1 ? undefined : scripts.splice(at, 1)[0];
}

function scripted({ answer }: Script, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.hijack();
  answer(request.raw, reply.raw);
  return reply;
}
