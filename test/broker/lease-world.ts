import { makeSessionTokens } from '../../src/authn/session-tokens.ts';
import { approveGrant, type DecideApprovalDeps } from '../../src/broker/decide-approval.ts';
import { endOverdueCalls } from '../../src/broker/end-overdue-calls.ts';
import { executeGitHubProxy, type ExecuteGitHubProxyDeps } from '../../src/broker/execute-github-proxy.ts';
import { expireDue } from '../../src/broker/expire-due.ts';
import { getGrant, type GetGrantDeps } from '../../src/broker/get-grant.ts';
import type { ReadRecordsDeps } from '../../src/broker/read-records.ts';
import { requestGrant, type RequestGrantDeps, type RequestGrantRequest } from '../../src/broker/request-grant.ts';
import { revokeRun, type RevokeAllDeps } from '../../src/broker/revoke-all.ts';
import { revokeDue } from '../../src/broker/revoke-due.ts';
import { revokeGrant, type RevokeGrantDeps } from '../../src/broker/revoke-grant.ts';
import { revokeSession, type RevokeSessionDeps } from '../../src/broker/revoke-session.ts';
import { unwrapArtifact, type UnwrapArtifactDeps } from '../../src/broker/unwrap-artifact.ts';
import { makeStaticResolver } from '../../src/connectors/resolver.ts';
import { ephemeralKeyManagement } from '../../src/crypto/kek-file.ts';
import { ephemeralKeyRing } from '../../src/crypto/key-ring.ts';
import { makeIdSource } from '../../src/crypto/random-ids.ts';
import { makeRelaySealer } from '../../src/crypto/relay-sealer.ts';
import { makeSecretSealer } from '../../src/crypto/sealed-box.ts';
import { makeBrowserRelays } from '../../src/delivery/browser-relays.ts';
import { makeProxyDelivery } from '../../src/delivery/proxy-delivery.ts';
import { makeSecretDelivery } from '../../src/delivery/secret-delivery.ts';
import type { CallContext } from '../../src/domain/call-context.ts';
import type {
  Connector,
  IssuedLease,
  IssueRequest,
  LeaseConnector,
  ProxyAnswer,
  ProxyConnector,
  RevokeRequest,
  SendOptions,
} from '../../src/domain/connector.ts';
import { BrokerError } from '../../src/domain/errors.ts';
import type { GrantAuthorizer } from '../../src/domain/grant-authorizer.ts';
import { OPERATOR_ROLES } from '../../src/domain/operator.ts';
import type { ApprovalRule } from '../../src/domain/policy.ts';
import type { Repository } from '../../src/domain/repository.ts';
import type { ActiveSession } from '../../src/domain/session.ts';
import { MemoryRepository } from '../../src/store/memory/memory-repository.ts';
import { MemoryRuntimeStore } from '../../src/store/memory/memory-runtime-store.ts';
import { aSession, TENANT } from '../support/entities.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { inProcessLeaseConnector } from '../support/lease-connector.ts';
import { LeaseLedger } from '../support/lease-ledger.ts';
import { RecordingAuditLog } from '../support/recording-audit-log.ts';

export const ISSUER = 'https://asb.example';
export const OPERATOR = 'operator token of olga';
export const CONTEXT: CallContext = { requestId: 'req_1', proof: null, signal: new AbortController().signal };
export const GRANT_SECONDS = 600;

export const REQUEST: Omit<RequestGrantRequest, 'sessionToken'> = {
  tool: 'db',
  capability: 'db.read',
  resourceRef: 'dbrole:reporting',
  deliveryMode: 'wrapped_secret',
  ttlSeconds: GRANT_SECONDS,
  reason: 'count the orders',
  requestId: null,
};
export const PROXY_REQUEST = {
  ...REQUEST,
  tool: 'github',
  capability: 'repo.read',
  resourceRef: 'github:repo:acme/widgets',
  deliveryMode: 'proxy' as const,
};

/** The process was killed: whatever it does from then on has no effect. */
export class Killed extends Error {}

/**
 * Stands between a process and all that it has an effect on. Counts the moments before and after each effect, kills the process
 * at one of them, and keeps what happened in order.
 */
export class Effects {
  readonly log: string[] = [];
  #moments = 0;
  #killAt: number | null = null;
  #isDead = false;
  /** Runs before each commit; what it throws is what the commit rejects with. */
  beforeCommit: ((number: number) => void | Promise<void>) | null = null;
  /** Runs after each commit; what it throws is what the caller hears of a commit that happened. */
  afterCommit: ((number: number) => void) | null = null;
  commits = 0;

  killAt(moment: number): void {
    this.#killAt = this.#moments + moment;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** The moment of death is of no consequence any more: another process goes on. */
  revive(): void {
    this.#isDead = false;
    this.#killAt = null;
  }

  moment(): void {
    if (this.#isDead || this.#moments === this.#killAt) {
      this.#isDead = true;
      throw new Killed();
    }
    this.#moments += 1;
  }

  around<Answer>(what: string, effect: () => Promise<Answer>): Promise<Answer> {
    this.moment();
    this.log.push(what);
    return effect().then(
      (answer) => {
        this.moment();
        return answer;
      },
      (error: unknown) => {
        this.moment();
        throw error;
      },
    );
  }
}

function watched(repository: MemoryRepository, audit: RecordingAuditLog, effects: Effects): Repository {
  const transact: Repository['transact'] = async (stage) => {
    effects.moment();
    const number = (effects.commits += 1);
    await effects.beforeCommit?.(number);
    const before = audit.events.length;
    await repository.transact(stage);
    const types = audit.events.slice(before).map(({ type }) => type);
    effects.log.push(['commit', ...types].join(' '));
    effects.afterCommit?.(number);
    effects.moment();
  };
  return new Proxy<Repository>(repository, {
    get(target, name) {
      if (name === 'transact') return transact;
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        if (effects.isDead) throw new Killed();
        return Reflect.apply(member, target, args);
      };
    },
  });
}

/** A connector whose answers a test may replace. */
export interface ReplaceableLeases extends LeaseConnector {
  issue: (request: IssueRequest) => Promise<IssuedLease>;
  revoke: (request: RevokeRequest) => Promise<void>;
}

const watchedConnector = (connector: LeaseConnector, effects: Effects): ReplaceableLeases => ({
  ...connector,
  issue: (request) => effects.around('issue', () => connector.issue(request)),
  revoke: (request) => effects.around('revoke', () => connector.revoke(request)),
});

/** Everything that leases touch, real but for the clock, the policy and the downstream system. */
export async function makeLeaseWorld(moreConnectors: readonly Connector[] = []) {
  const clock = new FakeClock();
  const audit = new RecordingAuditLog();
  const stored = new MemoryRepository({ auditLog: audit });
  const effects = new Effects();
  const repository = watched(stored, audit, effects);
  const runtime = new MemoryRuntimeStore();
  const keys = await ephemeralKeyRing();
  const ids = makeIdSource({ clock, handleKey: keys.secretFor('handles') });
  const ledger = new LeaseLedger();
  const sealer = makeSecretSealer({ keys: ephemeralKeyManagement() });
  const secret = makeSecretDelivery({ sealer, ids });
  const leases = watchedConnector(inProcessLeaseConnector(ledger), effects);
  const github: { send: (options: SendOptions) => Promise<ProxyAnswer> } = {
    send: () => Promise.reject(new Error('not told what to answer')),
  };
  const gitHub: ProxyConnector = {
    name: 'github',
    resourceKind: 'github_repo',
    capabilities: ['repo.read'],
    deliveryModes: ['proxy'],
    checkResource: () => undefined,
    prepare: () => ({ send: (options) => effects.around('send', () => github.send(options)) }),
  };
  const policy: { approval: ApprovalRule | null } = { approval: null };
  const grants: GrantAuthorizer = {
    revision: 'r1',
    explain: () => [],
    allowsPlainValues: () => false,
    decide: ({ now, ttlSeconds }) => ({
      allowed: true,
      rule: 'policy:db.read',
      ttlSeconds: ttlSeconds ?? GRANT_SECONDS,
      expiresAt: new Date(now.getTime() + (ttlSeconds ?? GRANT_SECONDS) * 1000),
      approval: policy.approval,
      permissions: null,
    }),
  };
  const connectors = { current: makeStaticResolver([leases, gitHub, ...moreConnectors]) };
  const deps: RequestGrantDeps &
    DecideApprovalDeps &
    GetGrantDeps &
    UnwrapArtifactDeps &
    RevokeGrantDeps &
    RevokeSessionDeps &
    RevokeAllDeps &
    ExecuteGitHubProxyDeps &
    ReadRecordsDeps = {
    clock,
    ids,
    repository,
    runtime,
    grants,
    connectors: connectors.current,
    deliveries: { proxy: makeProxyDelivery(ids), secret },
    sessions: { decide: () => ({ allowed: true }), explain: () => [] },
    tokens: makeSessionTokens({ keys, issuer: ISSUER, clock }),
    relays: makeBrowserRelays({ runtime }),
    relaySealer: makeRelaySealer(),
    proofs: { verify: () => Promise.reject(new Error('nothing here is bound to a key')) },
    operators: {
      verify: () =>
        Promise.resolve({ issuer: 'https://login', subject: 'olga', roles: new Map([[TENANT, new Set(OPERATOR_ROLES)]]) }),
    },
    revision: () => 'r1',
    maxOpenGrantsPerSession: 1000,
    notifications: { enqueue: () => undefined, wake: () => undefined },
    budget: { maxConcurrent: 2, maxRequests: 5, maxBytes: 1000, timeoutSeconds: 15 },
    memory: { bufferedBytes: () => 0 },
    maxBufferedBytes: 1_000_000,
  };
  const random = { next: 0 };
  const workerDeps = {
    ...{ clock, ids, repository, runtime, revision: () => 'r1', random: () => random.next, retentionSeconds: 86_400 },
    connectors: () => connectors.current,
  };
  const broker = {
    requestGrant: requestGrant(deps),
    approveGrant: approveGrant(deps),
    getGrant: getGrant(deps),
    unwrapArtifact: unwrapArtifact(deps),
    revokeGrant: revokeGrant(deps),
    revokeSession: revokeSession(deps),
    revokeRun: revokeRun(deps),
    executeGitHubProxy: executeGitHubProxy(deps),
  };
  const worker = {
    expireDue: expireDue(workerDeps),
    endOverdueCalls: endOverdueCalls(workerDeps),
    revokeDue: revokeDue(workerDeps),
  };
  const neverStops = new AbortController().signal;

  const world = {
    ...{ clock, audit, stored, repository, runtime, ids, ledger, effects, deps, workerDeps, broker, worker, policy, random },
    ...{ connectors, leases, gitHub, github, sealer, secret },
    /** A session of an hour on record, and its token. */
    async openSession(changes: Partial<ActiveSession> = {}): Promise<{ session: ActiveSession; token: string }> {
      const now = clock.now();
      const session = aSession({ createdAt: now, expiresAt: new Date(now.getTime() + 3_600_000), ...changes });
      await stored.transact((unit) => unit.insertSession(session));
      const token = await deps.tokens.sign({ ...session, sessionId: session.id, issuedAt: now });
      return { session, token };
    },
    /** Asks for the credential of a database. */
    request: (sessionToken: string, changes: Partial<RequestGrantRequest> = {}) =>
      broker.requestGrant({ ...REQUEST, sessionToken, ...changes }, CONTEXT),
    unwrap: (sessionToken: string, artifactId: Parameters<typeof broker.unwrapArtifact>[0]['artifactId']) =>
      broker.unwrapArtifact({ sessionToken, artifactId, keyId: '', origin: '', tabId: '' }, CONTEXT),
    revoke: () => worker.revokeDue(100, 'req_pass', neverStops),
    /** What a worker does until nothing is due: with half an hour of patience where the downstream system is away. */
    async workOff(): Promise<void> {
      for (let round = 0; round < 60; round += 1) {
        const overdue = await worker.endOverdueCalls(100, 'req_pass');
        const expired = await worker.expireDue(100, 'req_pass');
        const revoked = await world.revoke();
        const counts = [...Object.values(overdue), expired.grants, expired.sessions, ...Object.values(revoked)];
        if (counts.every((count) => count === 0)) return;
      }
      throw new Error('there is always something due');
    },
    revocation: (grant: { tenantId: ActiveSession['tenantId']; id: Parameters<Repository['findGrant']>[1] }) =>
      stored.findRevocationOfGrant(grant.tenantId, grant.id),
    openCalls: () => stored.findOverdueCalls(new Date(clock.now().getTime() + 3_600_000), 100),
  };
  return world;
}

export type LeaseWorld = Awaited<ReturnType<typeof makeLeaseWorld>>;

/** How a call ended: its answer, or the code of its refusal. Whatever else is thrown stays thrown, but for the death of the process. */
export async function outcomeOf<Answer>(call: Promise<Answer>): Promise<Answer | string> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Killed) return 'killed';
    if (error instanceof BrokerError) return error.code;
    throw error;
  }
}

/** Lets what has been begun go on until something holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}
