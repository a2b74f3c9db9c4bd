import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpDeps } from '../../src/transport/deps.ts';
import type { Server } from '../../src/transport/http/listening-server.ts';
import { makeGrpcServer, makeHttpServer } from '../../src/transport/http/server.ts';
import { makeLogger } from '../../src/transport/logging.ts';
import { makeMetrics } from '../../src/transport/metrics.ts';
import { RateWindows } from '../../src/transport/rate-limit.ts';
import { FakeBroker } from './fake-broker.ts';
import { FakeClock } from './fake-clock.ts';

export interface Listeners {
  broker: FakeBroker;
  clock: FakeClock;
  deps: HttpDeps;
  /** Every line logged so far. */
  logged: string[];
  http: Server;
  grpc: Server;
  httpUrl: string;
  grpcUrl: string;
  close(): Promise<void>;
}

const MANY = 1_000_000;

/** Both listeners on free ports, in front of a fake broker. */
export async function startListeners(changes: Partial<HttpDeps> & { perMinute?: number } = {}): Promise<Listeners> {
  const broker = new FakeBroker();
  const clock = new FakeClock();
  const logged: string[] = [];
  let requests = 0;
  const { perMinute = MANY, ...overrides } = changes;
  const deps: HttpDeps = {
    broker: () => broker,
    clock,
    metrics: makeMetrics(),
    log: makeLogger({ level: 'debug', destination: { write: (line) => logged.push(line) } }),
    newRequestId: () => `made-${(requests += 1)}`,
    rateWindows: new RateWindows(clock, perMinute),
    trustedProxies: [],
    tls: null,
    publicBaseUrl: null,
    readiness: async () => ({ checks: { store: 'ok' }, details: {} }),
    publicKeys: () => ({ keys: [{ kty: 'OKP', crv: 'Ed25519', kid: 'k1', x: 'AAAA' }] }),
    version: '0.0.0-test',
    ...overrides,
  };
  const http = await makeHttpServer(deps);
  const grpc = await makeGrpcServer(deps);
  const at = { host: '127.0.0.1', port: 0 };
  const httpUrl = await http.listen(at);
  const grpcUrl = await grpc.listen(at);
  const close = async (): Promise<void> => {
    const closed = Promise.all([http.drain(0), grpc.drain(0)]);
    // One turn for the drain to begin; then the grace period, of any drain, is over.
    await new Promise(setImmediate);
    clock.advance(3600);
    await closed;
  };
  return { broker, clock, deps, logged, http, grpc, httpUrl, grpcUrl, close };
}

/** A certificate for 127.0.0.1 that signs itself. */
export function selfSigned(): { cert: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'asb-tls-'));
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
        ...['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
      ],
      { stdio: 'ignore' },
    );
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
