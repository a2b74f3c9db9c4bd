import type { CallContext } from '../domain/call-context.ts';

/** One thing callers can ask of the broker. Rejects with BrokerError; anything else is a defect. */
export type UseCase<Request, Response> = (request: Request, context: CallContext) => Promise<Response>;
