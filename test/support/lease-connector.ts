import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import type { IssuedLease, LeaseConnector } from '../../src/domain/connector.ts';
import { forbidden, invalidRequest, unavailable, upstreamError } from '../../src/domain/errors.ts';
import type { RevocationId } from '../../src/domain/ids.ts';
import { Secret } from '../../src/domain/secret.ts';
import { type LeaseFault, LeaseLedger, type LeaseOperation, type LedgerLease } from './lease-ledger.ts';

/** What the test connector serves: `db.read` on `dbrole:NAME`, delivered as a wrapped secret. */
const SERVES = {
  name: 'test_leases',
  resourceKind: 'db_role',
  capabilities: ['db.read'],
  deliveryModes: ['wrapped_secret'],
  checkResource({ name }) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw invalidRequest('resource_ref: write dbrole: and a name in lower case');
  },
} as const satisfies Omit<LeaseConnector, 'issue' | 'revoke'>;

const refused = () => forbidden('upstream_refused', 'the test database refuses', { rule: 'test_leases' });

/** What the connector serves that talks to a stand-in: `db.token` besides, delivered as a minted token. */
const SERVES_TOKENS = {
  ...SERVES,
  capabilities: [...SERVES.capabilities, 'db.token'],
  deliveryModes: [...SERVES.deliveryModes, 'minted_token'],
} as const;

const tokenOf = ({ leaseId, password, expiresAt }: Omit<LedgerLease, 'isRevoked'>): IssuedLease => ({
  leaseId,
  fields: [{ name: 'token', value: new Secret(password) }],
  expiresAt,
});

const leaseOf = ({ leaseId, username, password, expiresAt }: Omit<LedgerLease, 'isRevoked'>): IssuedLease => ({
  leaseId,
  fields: [
    { name: 'username', value: new Secret(username) },
    { name: 'password', value: new Secret(password) },
  ],
  expiresAt,
});

/** Issues from a ledger in this process. */
export function inProcessLeaseConnector(ledger: LeaseLedger): LeaseConnector {
  const run = async <T>(operation: LeaseOperation, signal: AbortSignal, effect: () => T): Promise<T> => {
    const fault = ledger.take(operation);
    if (fault === 'refuse') throw refused();
    if (fault === 'fail_before') throw upstreamError('the test database failed');
    if (fault === 'hang_before' || fault === 'late_effect') await aborted(signal);
    if (fault === 'hang_before') throw signal.reason;
    const answer = effect();
    if (fault === 'fail_after') throw upstreamError('the test database failed');
    if (fault === 'lose_answer') throw unavailable('the test database could not be reached');
    if (fault === 'hang_after') await aborted(signal);
    signal.throwIfAborted();
    return answer;
  };
  return {
    ...SERVES,
    issue: async ({ revocationId, capability, resource, expiresAt, signal }) =>
      leaseOf(
        await run('issue', signal, () => ledger.issue({ revocationId, capability, resourceRef: resource.ref, expiresAt })),
      ),
    revoke: ({ revocationId, leaseId, signal }) => run('revoke', signal, () => ledger.revoke(revocationId, leaseId)),
  };
}

/** Resolves when the caller has given up. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

const issueBody = z.strictObject({
  revocation_id: z.string().transform((id) => id as RevocationId),
  capability: z.string(),
  resource_ref: z.string(),
  expires_at: z.iso.datetime().transform((text) => new Date(text)),
});
const revokeBody = issueBody.pick({ revocation_id: true }).extend({ lease_id: z.string().nullable() });
const leaseBody = z.object({
  lease_id: z.string(),
  username: z.string(),
  password: z.string(),
  expires_at: z.iso.datetime().transform((text) => new Date(text)),
});

export interface LeaseStandIn {
  url: string;
  ledger: LeaseLedger;
  close(): Promise<void>;
}

/** An HTTP server in front of a ledger, so that several processes share it. */
export async function startLeaseStandIn(ledger = new LeaseLedger(), port = 0): Promise<LeaseStandIn> {
  const server = createServer((request, response) => {
    serve(ledger, request, response).catch(() => response.writeHead(400).end());
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${actual}`,
    ledger,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(ledger: LeaseLedger, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const operation = request.url === '/issue' ? 'issue' : 'revoke';
  const effect = effectOf(ledger, operation, await json(request));
  const fault = ledger.take(operation);
  const isDone: LeaseFault[] = ['fail_after', 'hang_after', 'lose_answer'];
  if (fault === 'late_effect') {
    response.once('close', effect);
    return;
  }
  const body = fault === null || isDone.includes(fault) ? effect() : null;
  if (fault === 'hang_before' || fault === 'hang_after') return;
  if (fault === 'lose_answer') {
    request.socket.destroy();
    return;
  }
  const status = fault === null ? 200 : fault === 'refuse' ? 403 : 500;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(status === 200 ? body : {}));
}

function effectOf(ledger: LeaseLedger, operation: LeaseOperation, body: unknown): () => unknown {
  if (operation === 'revoke') {
    const { revocation_id, lease_id } = revokeBody.parse(body);
    return () => {
      ledger.revoke(revocation_id, lease_id);
      return {};
    };
  }
  const { revocation_id: revocationId, capability, resource_ref: resourceRef, expires_at } = issueBody.parse(body);
  return () => {
    const lease = ledger.issue({ revocationId, capability, resourceRef, expiresAt: expires_at });
    return {
      lease_id: lease.leaseId,
      username: lease.username,
      password: lease.password,
      expires_at: lease.expiresAt.toISOString(),
    };
  };
}

/** Issues from a stand-in, which may be another process. */
export function httpLeaseConnector(url: string): LeaseConnector {
  return {
    ...SERVES_TOKENS,
    async issue({ revocationId, capability, resource, expiresAt, signal }) {
      const order = {
        revocation_id: revocationId,
        capability,
        resource_ref: resource.ref,
        expires_at: expiresAt.toISOString(),
      };
      const { lease_id, username, password, expires_at } = leaseBody.parse(await post(`${url}/issue`, order, signal));
      const at = { revocationId, capability, resourceRef: resource.ref };
      const made = { ...at, leaseId: lease_id, username, password, expiresAt: expires_at };
      return capability === 'db.token' ? tokenOf(made) : leaseOf(made);
    },
    async revoke({ revocationId, leaseId, signal }) {
      await post(`${url}/revoke`, { revocation_id: revocationId, lease_id: leaseId }, signal);
    },
  };
}

async function post(url: string, body: unknown, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw unavailable('the test database could not be reached', { cause });
  });
  if (response.status === 403) throw refused();
  if (!response.ok) throw upstreamError(`the test database answered ${response.status}`);
  return response.json();
}
