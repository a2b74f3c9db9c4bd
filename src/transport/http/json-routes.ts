import type { FastifyInstance, FastifyReply } from 'fastify';
import { type Answer, type Call, CALLS } from '../calls.ts';
import { either, type OnGone, withinDeadline } from '../deadline.ts';
import type { TransportDeps } from '../deps.ts';
import { CallerGone } from '../errors.ts';
import { exchangeOf, noteIds } from '../exchange.ts';
import type { OpenReplies } from '../open-replies.ts';
import { presentedProof } from '../presented-proof.ts';
import { presentedToken } from '../presented-token.ts';
import { wireRequest } from './wire-request.ts';

type JsonDeps = Pick<TransportDeps, 'broker' | 'clock' | 'publicBaseUrl' | 'tls'>;

/** The JSON route of every call. */
export function addJsonRoutes(app: FastifyInstance, deps: JsonDeps, open: OpenReplies): void {
  for (const call of CALLS) {
    app.route({
      method: call.httpMethod,
      url: routeOf(call),
      // A HEAD would make the call and drop its answer, a handle on its way to an agent included.
      exposeHeadRoute: false,
      config: { call: call.name },
      handler: async (request, reply) => {
        const ready = call.read(wireRequest(call, request), presentedToken(request.headers.authorization));
        const onGone = call.waits ? either(whenClosed(reply), open.whenClosing) : whenClosed(reply);
        const limits = { clock: deps.clock, seconds: call.deadlineSeconds, onGone };
        const caller = { requestId: request.id, proof: presentedProof(request, deps) };
        const answer = await withinDeadline(limits, caller, (context) => ready(deps.broker(), context));
        noteIds(exchangeOf(request), answer);
        return sendAnswer(reply, answer);
      },
    });
  }
}

// Names of the callers' own, which may hold a colon or, percent-encoded, a slash; ids of ours hold neither.
const ANY_NAME = new Set(['run_id']);

/**
 * A call's path in the router's own notation: `/v1/grants/{grant_id}:revoke` is `/v1/grants/:grant_id(^[^:/]+)::revoke`, where
 * a doubled colon stands for one.
 */
export const routeOf = (call: Pick<Call, 'path'>): string =>
  call.path
    .replaceAll(/:(?=[a-z])/g, '::')
    .replace(/\{(\w+)\}/, (_braces, field: string) => `:${field}(${ANY_NAME.has(field) ? '^.+' : '^[^:/]+'})`);

const whenClosed =
  (reply: FastifyReply): OnGone =>
  (listener) => {
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
