import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import { type GitHubStandIn, startGitHubStandIn } from '../../dev/github/server.ts';
import { makeApi, type Parts } from '../../src/bootstrap/api.ts';
import { makeWorker, type Worker } from '../../src/bootstrap/run-worker.ts';
import { readConfiguration } from '../../src/bootstrap/configuration.ts';
import { ISSUER, mintProjectedToken, rsaKey } from './attestations.ts';
import type { Configured } from './configured.ts';
import type { DurableStores } from './durable-stores.ts';
import { FakeClock } from './fake-clock.ts';
import { APP_ID, type AppKeys } from './github-app.ts';
import type { AuditEvent } from '../../src/domain/audit-event.ts';
import { makeOperators } from './operators.ts';
import { RecordingAuditLog } from './recording-audit-log.ts';
import {
  type CallOptions,
  type CallResult,
  connectClient,
  connectJsonClient,
  grpcClient,
  grpcWebClient,
  jsonClient,
  type MethodName,
  RawClient,
  type TransportClient,
} from './transports.ts';

export const CANARY_TOKEN = 'ghp_CANARY0123456789abcdefghijklmnopqrstu';

const sessionAnswer = z.object({ session_id: z.string(), session_token: z.string(), expires_at: z.string() });
const grantAnswer = z.object({
  grant_id: z.string(),
  state: z.string(),
  delivery: z.object({ kind: z.string(), handle: z.string(), artifact_id: z.string() }),
  expires_at: z.string(),
});
export type SessionAnswer = z.infer<typeof sessionAnswer>;
export type GrantAnswer = z.infer<typeof grantAnswer>;

/** A whole broker in this process: the real wiring, on a fake clock, before a GitHub stand-in. */
export interface Asb {
  clock: FakeClock;
  audit: RecordingAuditLog & { close(): void };
  logged: string[];
  github: GitHubStandIn;
  url: string;
  grpcUrl: string;
  raw: RawClient;
  /** One client for each transport, JSON first. */
  clients: readonly [TransportClient, ...TransportClient[]];
  attestation: (claims?: Record<string, unknown>) => Promise<{ kind: string; token: string }>;
  /** A call over JSON. Rejects when it is refused by no rule: whoever is refused must hear which one it was. */
  call(method: MethodName, request: JsonValue, options?: CallOptions): Promise<CallResult>;
  openSession(changes?: Record<string, JsonValue>): Promise<SessionAnswer>;
  requestGrant(sessionToken: string, changes?: Record<string, JsonValue>): Promise<GrantAnswer>;
  /** A token of an operator of our tenants; `roles` as the roles claim writes them. */
  operatorToken(roles?: readonly string[], subject?: string): Promise<string>;
  /** What state is kept in; null when it is this process's memory. */
  durable: DurableStores | null;
  /** As SIGHUP does. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export const GRANT_REQUEST = {
  tool: 'github',
  capability: 'repo.read',
  resource_ref: 'github:repo:acme/widgets',
  delivery_mode: 'proxy',
  ttl_seconds: 300,
  reason: 'review pull request 10',
};

/** What must be a yes. Throws with the refusal otherwise. */
export function bodyOf(result: CallResult): JsonValue {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.body;
}

/** Without a configuration file there is one tenant, `t_dev`, with operators of its own. */
export async function startAsb(
  environment: Readonly<Record<string, string>> = {},
  parts: Pick<Partial<Parts>, 'memory' | 'connectors'> & { file?: Configured; isDurable?: boolean; app?: AppKeys } = {},
): Promise<Asb> {
  const folder = mkdtempSync(join(tmpdir(), 'asb-e2e-'));
  const keyFile = join(folder, 'cluster.pem');
  writeFileSync(keyFile, rsaKey.publicPem);
  const operators = parts.file?.operators ?? makeOperators();
  const operatorKeyFile = join(folder, 'operators.pem');
  writeFileSync(operatorKeyFile, operators.publicPem);
  const authorities: Record<string, string> =
    parts.file === undefined
      ? {
          ASB_K8S_ISSUER: ISSUER,
          ASB_K8S_PUBLIC_KEY_FILE: keyFile,
          ASB_OPERATOR_ISSUER: operators.issuer,
          ASB_OPERATOR_PUBLIC_KEY_FILE: operatorKeyFile,
          ASB_OPERATOR_AUDIENCE: operators.audience,
        }
      : { ASB_CONFIG_FILE: parts.file.path };
  const clock = new FakeClock();
  const { app } = parts;
  const github = await startGitHubStandIn({
    token: CANARY_TOKEN,
    ...(app && { app: { appId: APP_ID, publicKey: app.publicPem, clock } }),
  });
  const audit = Object.assign(new RecordingAuditLog(), { close: () => undefined });
  const logged: string[] = [];
  const isDurable = parts.isDurable ?? process.env.ASB_TEST_STORES === 'durable';
  // Loaded only then: it starts servers.
  const durable = isDurable ? await (await import('./durable-stores.ts')).openDurableStores(folder) : null;
  const variables = {
    ASB_ADDR: '127.0.0.1:0',
    ASB_GRPC_ADDR: '127.0.0.1:0',
    ...authorities,
    ...(app === undefined ? { ASB_GITHUB_TOKEN: CANARY_TOKEN } : appVariables(app, folder)),
    ASB_GITHUB_API_BASE_URL: github.url,
    ASB_LOG_LEVEL: 'debug',
    ASB_SHUTDOWN_NOTICE_SECONDS: '0',
    ...durable?.environment,
    ...environment,
  };
  const common = {
    clock,
    logDestination: { write: (line: string) => logged.push(line) },
    ...(parts.connectors && { connectors: parts.connectors }),
    // On the memory store they come by way of the log.
    ...(isDurable && { onEvents: (events: readonly AuditEvent[]) => audit.append(events) }),
  };
  let made = Promise.resolve();
  const api = await makeApi(await readConfiguration(variables), {
    ...common,
    auditLog: audit,
    ...(parts.memory && { memory: parts.memory }),
    aroundStores(stores) {
      // As if the deployment had run for an hour: a store that is new to proofs refuses those that it may have forgotten.
      made = untilReached(() => stores.runtime.forgetExpired(new Date(clock.now().getTime() - 3_600_000)));
      return stores;
    },
  });
  await made;
  const worker = isDurable ? await startWorker(variables, common) : null;
  const [url, grpcUrl] = (await api.start()).map((address) => `http://${address}`) as [string, string];
  const clients = [
    jsonClient(url),
    connectJsonClient(url),
    connectClient(url),
    grpcWebClient(url),
    grpcClient(grpcUrl),
  ] as const;
  const raw = new RawClient(url);

  const attestation: Asb['attestation'] = async (claims = {}) => ({
    kind: 'k8s_sa_jwt',
    token: await mintProjectedToken({ now: clock.now(), claims }),
  });
  const call: Asb['call'] = async (method, request, options) => {
    const result = await clients[0].call(method, request, options);
    if (!result.ok && result.code === 'forbidden' && result.rule === null) {
      throw new Error(`${method} was refused, and the answer names no rule: ${result.message}`);
    }
    return result;
  };
  return {
    clock,
    audit,
    logged,
    github,
    url,
    grpcUrl,
    raw,
    clients,
    attestation,
    call,
    async openSession(changes = {}) {
      const request = await sessionRequest(attestation, changes);
      return sessionAnswer.parse(bodyOf(await call('createSession', request)));
    },
    async requestGrant(sessionToken, changes = {}) {
      return grantAnswer.parse(
        bodyOf(await call('requestGrant', { ...GRANT_REQUEST, ...changes }, { bearer: sessionToken })),
      );
    },
    operatorToken: (roles, subject) =>
      operators.token({ now: clock.now(), ...(roles && { roles }), ...(subject !== undefined && { subject }) }),
    durable,
    reload: async () => {
      await Promise.all([api.reload(), worker?.reload()]);
    },
    async close() {
      for (const client of clients) client.close();
      raw.close();
      const stopped = Promise.all([api.stop(), worker?.stop()]);
      // The listeners plan the end of their grace first.
      await new Promise(setImmediate);
      clock.advance(60);
      await stopped;
      await github.close();
      await durable?.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** What makes ASB an App. */
function appVariables({ pkcs1 }: AppKeys, folder: string): Record<string, string> {
  const path = join(folder, 'app.pem');
  writeFileSync(path, pkcs1, { mode: 0o600 });
  return { ASB_GITHUB_APP_ID: String(APP_ID), ASB_GITHUB_APP_PRIVATE_KEY_FILE: path };
}

/** A busy machine may be slow to connect. */
async function untilReached(use: () => Promise<void>, tries = 10): Promise<void> {
  try {
    await use();
  } catch (error) {
    if (tries === 1) throw error;
    await untilReached(use, tries - 1);
  }
}

/** A worker beside the API, on the same clock. */
async function startWorker(
  variables: Readonly<Record<string, string>>,
  parts: Parameters<typeof makeWorker>[2],
): Promise<Worker> {
  const flags = { intervalSeconds: 5, limit: 100, once: false };
  const worker = await makeWorker(await readConfiguration(variables), flags, parts);
  await worker.start();
  return worker;
}

/** A CreateSession request that is granted, with changes. */
export async function sessionRequest(
  attestation: Asb['attestation'],
  changes: Record<string, JsonValue> = {},
): Promise<Record<string, JsonValue>> {
  return {
    tenant_id: 't_dev',
    agent_id: 'reviewer',
    run_id: 'run-1',
    tool_context: ['github'],
    attestation: await attestation(),
    ...changes,
  };
}
