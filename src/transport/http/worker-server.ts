import type { HttpDeps } from '../deps.ts';
import { countNoRequests } from '../rate-limit.ts';
import { clearHttp1 } from './fastify-instances.ts';
import { addLifecycle, addNotFound } from './lifecycle.ts';
import { ListeningServer, type Server } from './listening-server.ts';
import { addHealth, addMetrics, addReadiness } from './system-routes.ts';

export type WorkerServerDeps = Pick<HttpDeps, 'clock' | 'metrics' | 'readiness' | 'log' | 'newRequestId'>;

/**
 * The listener of a worker: health, readiness and metrics over HTTP/1.1 in clear, for those who run it. It serves no calls, so it
 * counts nobody's requests and believes no proxy.
 */
export function makeWorkerServer(deps: WorkerServerDeps): Server {
  const app = clearHttp1({ ...deps, trustedProxies: [] });
  countNoRequests(app);
  const server = new ListeningServer(app, deps.clock, addLifecycle(app, deps));
  addNotFound(app);
  addHealth(app);
  addReadiness(app, deps, () => server.draining);
  addMetrics(app, deps);
  return server;
}
