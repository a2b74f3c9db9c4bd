import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidRequest } from '../../domain/errors.ts';
import { bearerToken } from '../bearer-token.ts';
import { type Answer, type Call, CALLS } from '../calls.ts';
import { withinDeadline } from '../deadline.ts';
import type { TransportDeps } from '../deps.ts';
import { CallerGone } from '../errors.ts';
import { exchangeOf, noteIds } from '../exchange.ts';

/** The JSON route of every call. */
export function addJsonRoutes(app: FastifyInstance, deps: Pick<TransportDeps, 'broker' | 'clock'>): void {
  for (const call of CALLS) {
    app.route({
      method: 'POST',
      url: routeOf(call),
      config: { call: call.name },
      handler: async (request, reply) => {
        const ready = call.read(wireRequest(call, request), bearerToken(request.headers.authorization));
        const limits = { clock: deps.clock, seconds: call.deadlineSeconds, onGone: whenClosed(reply) };
        const answer = await withinDeadline(limits, request.id, (context) => ready(deps.broker, context));
        noteIds(exchangeOf(request), answer);
        return sendAnswer(reply, answer);
      },
    });
  }
}

/**
 * A call's path in the router's own notation: `/v1/grants/{grant_id}:revoke` is `/v1/grants/:grant_id(^[^:/]+)::revoke`, where
 * a doubled colon stands for one.
 */
export const routeOf = (call: Pick<Call, 'path'>): string => call.path.replace(/\{(\w+)\}:/, ':$1(^[^:/]+)::');

/** The request as one object: the body, and the id that stands in the path. */
function wireRequest(call: Call, request: FastifyRequest): unknown {
  const body = request.body ?? (request.body === null ? null : {});
  if (call.pathField === null || typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const id = pathId(request.params, call.pathField);
  const inBody: unknown = Object.hasOwn(body, call.pathField) ? Reflect.get(body, call.pathField) : id;
  if (inBody !== id && inBody !== '' && inBody !== null) {
    throw invalidRequest(`${call.pathField}: differs from the one in the path; leave it out of the body`);
  }
  return { ...body, [call.pathField]: id };
}

function pathId(params: unknown, field: string): unknown {
  return typeof params === 'object' && params !== null ? Reflect.get(params, field) : undefined;
}

const whenClosed = (reply: FastifyReply) => (listener: (reason: Error) => void) => {
  const onClose = (): void => listener(new CallerGone());
  reply.raw.once('close', onClose);
  return () => void reply.raw.off('close', onClose);
};

// What a header may hold without becoming two; an upstream's nonsense is served as bytes.
const MEDIA_TYPE = /^[\w.+-]+\/[\w.+-]+(?: ?; ?[\w-]+="?[\w.+-]+"?)*$/;

function sendAnswer(reply: FastifyReply, answer: Answer): FastifyReply {
  if (answer.kind === 'bytes') {
    if (answer.nextPage !== null) reply.header('x-next-page', answer.nextPage);
    const { contentType, payload } = answer;
    reply.header('content-type', MEDIA_TYPE.test(contentType) ? contentType : 'application/octet-stream');
    return reply.send(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
  }
  return reply.send(answer.body);
}
