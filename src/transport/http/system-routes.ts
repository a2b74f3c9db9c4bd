import type { FastifyInstance } from 'fastify';
import type { Clock } from '../../domain/clock.ts';
import { nobodyLeaves, withinDeadline } from '../deadline.ts';
import type { HttpDeps, Readiness } from '../deps.ts';
import { openApiDocument } from '../openapi.ts';

const READINESS_SECONDS = 5;
/** Short for everybody who scrapes, and long for whoever floods: rendering goes through every series. */
const METRICS_MS = 1000;
const QUIET = { quiet: true } as const;

/** Whether the process runs at all; asks nothing of anybody. */
export function addHealth(app: FastifyInstance): void {
  app.get('/healthz', { config: QUIET }, () => ({ status: 'ok' }));
}

/** Whether this process can do its work; 503 while it cannot, or while it stops. */
export function addReadiness(
  app: FastifyInstance,
  deps: Pick<HttpDeps, 'clock' | 'readiness' | 'log'>,
  isDraining: () => boolean,
): void {
  app.get('/readyz', { config: QUIET }, async (request, reply) => {
    const answer = isDraining() ? { status: 'draining', checks: {} } : await readiness(deps, request.id);
    return reply.code(answer.status === 'ready' ? 200 : 503).send(answer);
  });
}

/** Numbers for Prometheus. */
export function addMetrics(app: FastifyInstance, deps: Pick<HttpDeps, 'clock' | 'metrics'>): void {
  const metrics = shared(deps.clock, METRICS_MS, () => deps.metrics.render());
  app.get('/metrics', { config: QUIET }, async (_request, reply) => {
    const { contentType, body } = await metrics();
    return reply.header('content-type', contentType).send(body);
  });
}

/**
 * Health, readiness, metrics, the public keys and the description of the JSON routes. None of them is limited in rate, because who
 * probes or scrapes may share an address with those who call; so none may take much work for each request.
 */
export function addSystemRoutes(app: FastifyInstance, deps: HttpDeps, isDraining: () => boolean): void {
  addHealth(app);
  addReadiness(app, deps, isDraining);
  addMetrics(app, deps);
  app.get('/.well-known/jwks.json', { config: QUIET }, () => deps.publicKeys());
  const document = JSON.stringify(openApiDocument(deps.version));
  app.get('/openapi.json', { config: QUIET }, (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(document),
  );
}

/** Makes something at most once in `milliseconds`; whoever asks meanwhile shares it. What could not be made is not kept. */
function shared<T>(clock: Clock, milliseconds: number, make: () => Promise<T>): () => Promise<T> {
  let made: { at: number; what: Promise<T> } | null = null;
  return () => {
    const now = clock.now().getTime();
    // A clock that was set back is no reason to keep it for longer.
    if (made !== null && now >= made.at && now < made.at + milliseconds) return made.what;
    const current = { at: now, what: make() };
    made = current;
    current.what.catch(() => {
      if (made === current) made = null;
    });
    return current.what;
  };
}

async function readiness(
  deps: Pick<HttpDeps, 'clock' | 'readiness' | 'log'>,
  requestId: string,
): Promise<{ status: string; checks: Readiness['checks']; details?: Readiness['details'] }> {
  try {
    const limits = { clock: deps.clock, seconds: READINESS_SECONDS, onGone: nobodyLeaves };
    const { checks, details } = await withinDeadline(limits, { requestId, proof: null }, () => deps.readiness());
    const ready = Object.values(checks).every((check) => check === 'ok');
    const told = Object.keys(details).length === 0 ? {} : { details };
    return { status: ready ? 'ready' : 'not_ready', checks, ...told };
  } catch (error) {
    deps.log.warn({ error }, 'readiness check failed');
    return { status: 'not_ready', checks: {} };
  }
}
