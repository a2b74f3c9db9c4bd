import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import packageJson from '../../package.json' with { type: 'json' };
import { makeAttestationVerifier } from '../authn/attestation.ts';
import { makeK8sAttestation } from '../authn/k8s-attestation.ts';
import { makeSessionTokens } from '../authn/session-tokens.ts';
import { rememberVerified } from '../authn/verified-tokens.ts';
import { makePolicyEngine } from '../authz/policy-engine.ts';
import { makeToolRegistry } from '../authz/tool-registry.ts';
import { makeSessionAuthorizer } from '../authz/workload-bindings.ts';
import { makeBroker, type BrokerDeps } from '../broker/broker.ts';
import { expireDue } from '../broker/expire-due.ts';
import { makeGitHubConnector } from '../connectors/github/github-connector.ts';
import { staticTokenSource } from '../connectors/github/token-source.ts';
import { makeStaticResolver } from '../connectors/resolver.ts';
import { makeIdSource } from '../crypto/random-ids.ts';
import { makeProxyDelivery } from '../delivery/proxy-delivery.ts';
import type { AuditLog } from '../domain/audit-log.ts';
import type { Clock } from '../domain/clock.ts';
import type { Connector } from '../domain/connector.ts';
import type { TenantId } from '../domain/ids.ts';
import type { MemoryGauge } from '../domain/memory-gauge.ts';
import type { Repository } from '../domain/repository.ts';
import { Secret } from '../domain/secret.ts';
import { MemoryRepository } from '../store/memory/memory-repository.ts';
import { MemoryRuntimeStore } from '../store/memory/memory-runtime-store.ts';
import type { HttpDeps } from '../transport/deps.ts';
import { makeGrpcServer, makeHttpServer, type Server } from '../transport/http/server.ts';
import { type Log, type LogDestination, makeLogger } from '../transport/logging.ts';
import { makeMetrics, type Metrics } from '../transport/metrics.ts';
import { RateWindows } from '../transport/rate-limit.ts';
import { startCleanupLoop } from '../worker/cleanup-loop.ts';
import type { Configuration } from './configuration.ts';
import { developmentTenant, revisionOf } from './development-tenant.ts';
import type { Environment } from './environment.ts';
import type { KeyFiles } from './key-files.ts';
import { systemClock } from './system-clock.ts';
import { systemMemory } from './system-memory.ts';
import type { ListenAddress } from './variables.ts';

/** The API, wired and not yet listening. */
export interface Api {
  /** Starts to listen. Resolves with the address of each listener: the main one, then gRPC's if there is one. */
  start(): Promise<readonly string[]>;
  /** Finishes the calls under way and stops. Resolves when nothing is left running. */
  stop(): Promise<void>;
  /**
   * Opens the audit file again, which a rotation has renamed. When that fails, the one in use stays in use and an error is
   * logged. Events go to one or the other, and none is lost.
   */
  reload(): void;
  log: Log;
}

/** Parts that tests put in the place of the real ones. */
export interface Parts {
  clock: Clock;
  auditLog: AuditLog & { reopen(): void; close(): void };
  logDestination: LogDestination;
  memory: MemoryGauge;
}

/** How many of each kind one pass of the cleanup takes. */
const CLEANUP_LIMIT = 1000;
const STANDARD_ERROR = 2;
const SESSION_TTL_SECONDS = 900;

/** Puts the parts together. */
export async function makeApi(configuration: Configuration, parts: Partial<Parts> = {}): Promise<Api> {
  const { environment, keys } = configuration;
  const clock = parts.clock ?? systemClock;
  const metrics = makeMetrics();
  const destination = parts.logDestination ?? pino.destination({ dest: STANDARD_ERROR, sync: false });
  const log = makeLogger({ level: environment.ASB_LOG_LEVEL, destination });
  const auditLog = parts.auditLog ?? configuration.auditLog;
  const repository = new MemoryRepository({ auditLog: counted(auditLog, metrics) });
  const runtime = new MemoryRuntimeStore();
  const newRequestId = () => `req_${randomUUID()}`;

  const deps = brokerDeps(environment, keys, { clock, repository, runtime, memory: parts.memory ?? systemMemory });
  const http: HttpDeps = {
    broker: makeBroker(deps),
    clock,
    metrics,
    log,
    newRequestId,
    rateWindows: new RateWindows(clock, environment.ASB_RATE_LIMIT_PER_MINUTE),
    trustedProxies: environment.ASB_TRUSTED_PROXIES,
    tls: keys.tls,
    readiness: async () => ({
      repository: await readinessOf(repository),
      runtime: await readinessOf(runtime),
      audit_log: await readinessOf(auditLog),
    }),
    publicKeys: () => deps.tokens.publicKeys(),
    version: packageJson.version,
  };
  const servers: [Server, ListenAddress][] = [[await makeHttpServer(http), environment.ASB_ADDR]];
  if (environment.ASB_GRPC_ADDR !== undefined) servers.push([await makeGrpcServer(http), environment.ASB_GRPC_ADDR]);
  warnOfDefaults(environment, keys, log);

  const cleanup = expireDue({ ...deps, repository, retentionSeconds: environment.ASB_RETENTION_SECONDS });
  let stopCleanup = (): Promise<void> => Promise.resolve();
  return {
    log,
    async start() {
      const addresses: string[] = [];
      for (const [server, { host, port }] of servers) {
        const address = await listen(server, host, port).catch(async (error: unknown) => {
          // Half a broker must not go on serving.
          await Promise.all(servers.map(([started]) => started.drain(0)));
          throw error;
        });
        log.info({ address, version: packageJson.version }, 'listening');
        addresses.push(address);
      }
      stopCleanup = startCleanupLoop({
        clock,
        expireDue: cleanup,
        newRequestId,
        intervalSeconds: environment.ASB_CLEANUP_INTERVAL_SECONDS,
        limit: CLEANUP_LIMIT,
        onPass: (report) => metrics.observeCleanup(report),
        onError: (error) => log.error({ error }, 'a cleanup pass failed; the next one tries again'),
      });
      return addresses;
    },
    async stop() {
      const { ASB_SHUTDOWN_GRACE_SECONDS: grace, ASB_SHUTDOWN_NOTICE_SECONDS: notice } = environment;
      await Promise.all(servers.map(([server]) => server.drain(grace, notice)));
      await stopCleanup();
      auditLog.close();
    },
    reload() {
      try {
        auditLog.reopen();
        log.info({}, 'reloaded');
      } catch (error) {
        log.error({ error }, 'the audit file could not be opened again; the one in use stays in use');
      }
    },
  };
}

function brokerDeps(
  environment: Environment,
  keys: KeyFiles,
  { clock, repository, runtime, memory }: Pick<BrokerDeps, 'clock' | 'runtime' | 'memory'> & { repository: Repository },
): BrokerDeps {
  // readEnvironment has made sure that it is set.
  const issuer = environment.ASB_K8S_ISSUER ?? '';
  const data = developmentTenant(environment.ASB_DEV_TENANT_ID as TenantId, issuer);
  const tools = makeToolRegistry(data.tools);
  const grants = makePolicyEngine({ tools, policies: data.policies, revision: revisionOf(data) });
  const ids = makeIdSource({ clock });
  const tokens = makeSessionTokens({ keys: keys.sessionKeys, issuer: environment.ASB_SESSION_TOKEN_ISSUER, clock });
  return {
    clock,
    ids,
    repository,
    runtime,
    revision: () => grants.revision,
    attestation: makeAttestationVerifier({
      k8s_sa_jwt: makeK8sAttestation({ issuer, audience: environment.ASB_K8S_AUDIENCE, keys: keys.k8sKeys, clock }),
    }),
    tokens: rememberVerified(tokens, clock),
    sessions: makeSessionAuthorizer({ bindings: data.bindings, tools }),
    sessionTtlSeconds: SESSION_TTL_SECONDS,
    grants,
    connectors: makeStaticResolver(connectors(environment, clock)),
    deliveries: [makeProxyDelivery(ids)],
    maxOpenGrantsPerSession: environment.ASB_MAX_OPEN_GRANTS,
    memory,
    maxBufferedBytes: environment.ASB_PROXY_MAX_BUFFERED_BYTES,
    budget: {
      maxConcurrent: environment.ASB_PROXY_MAX_CONCURRENT,
      maxRequests: environment.ASB_PROXY_MAX_REQUESTS,
      maxBytes: environment.ASB_PROXY_MAX_BYTES,
      timeoutSeconds: environment.ASB_PROXY_TIMEOUT_SECONDS,
    },
  };
}

function connectors(environment: Environment, clock: Clock): readonly Connector[] {
  if (environment.ASB_GITHUB_TOKEN === undefined) return [];
  return [
    makeGitHubConnector({
      baseUrl: environment.ASB_GITHUB_API_BASE_URL,
      tokens: staticTokenSource(new Secret(environment.ASB_GITHUB_TOKEN)),
      allowedOperations: environment.ASB_GITHUB_ALLOWED_OPERATIONS,
      clock,
    }),
  ];
}

/** Counts what has been written. */
const counted = (auditLog: AuditLog, metrics: Metrics): AuditLog => ({
  append(events) {
    auditLog.append(events);
    for (const { type, code, reason } of events) metrics.observeAuditEvent(type, code ?? null, reason ?? null);
  },
  ping: () => auditLog.ping(),
});

async function readinessOf(dependency: { ping(): Promise<void> | void }): Promise<string> {
  try {
    await dependency.ping();
    return 'ok';
  } catch {
    return 'unavailable';
  }
}

function warnOfDefaults(environment: Environment, keys: KeyFiles, log: Log): void {
  if (keys.sessionKeysAreEphemeral) {
    log.warn(
      {},
      'no ASB_SESSION_SIGNING_PRIVATE_KEY_FILE: session tokens are signed with a key that ends with this process',
    );
  }
  if (environment.ASB_GITHUB_TOKEN === undefined) {
    log.warn({}, 'no ASB_GITHUB_TOKEN: nothing can be delivered for GitHub');
  }
}

/** Listens on every interface when no host is given: IPv6 and IPv4 together, or IPv4 alone where the machine has no IPv6. */
async function listen(server: Server, host: string, port: number): Promise<string> {
  if (host !== '') return addressOf(await server.listen({ host, port }));
  try {
    return addressOf(await server.listen({ host: '::', port }));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')) {
      return addressOf(await server.listen({ host: '0.0.0.0', port }));
    }
    throw error;
  }
}

const addressOf = (url: string): string => new URL(url).host;
