import { addConnectRoutes } from '../connect/routes.ts';
import type { HttpDeps, TransportDeps } from '../deps.ts';
import { addRateLimit } from '../rate-limit.ts';
import { addApprovalPage } from './approval-page.ts';
import { clearHttp1, clearHttp2, tlsWithAlpn } from './fastify-instances.ts';
import { addJsonRoutes } from './json-routes.ts';
import { addLifecycle, addNotFound } from './lifecycle.ts';
import { ListeningServer, type Server } from './listening-server.ts';
import { addHealth, addSystemRoutes } from './system-routes.ts';

export type { Server } from './listening-server.ts';

/**
 * The main listener: JSON, Connect and gRPC-Web, health, metrics and documents. With TLS, gRPC as well: clients choose
 * HTTP/2 or HTTP/1.1 by ALPN (RFC 7301).
 */
export async function makeHttpServer(deps: HttpDeps): Promise<Server> {
  const app = deps.tls === null ? clearHttp1(deps) : tlsWithAlpn(deps, deps.tls);
  await addRateLimit(app, deps.rateWindows);
  const open = addLifecycle(app, deps);
  const server = new ListeningServer(app, deps.clock, open);
  addNotFound(app);
  addJsonRoutes(app, deps, open);
  addSystemRoutes(app, deps, () => server.draining);
  addApprovalPage(app);
  await addConnectRoutes(app, deps, open);
  return server;
}

/** The listener for gRPC over HTTP/2 without TLS, or with it when it is configured. Health besides, and nothing else. */
export async function makeGrpcServer(deps: TransportDeps): Promise<Server> {
  const app = deps.tls === null ? clearHttp2(deps) : tlsWithAlpn(deps, deps.tls);
  await addRateLimit(app, deps.rateWindows);
  const open = addLifecycle(app, deps);
  const server = new ListeningServer(app, deps.clock, open);
  addNotFound(app);
  addHealth(app);
  await addConnectRoutes(app, deps, open);
  return server;
}
