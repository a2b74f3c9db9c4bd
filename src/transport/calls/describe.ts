import type { DescMethodUnary } from '@bufbuild/protobuf';
import type { z } from 'zod';
import type { Broker } from '../../broker/broker.ts';
import type { UseCase } from '../../broker/use-case.ts';
import type { CallContext } from '../../domain/call-context.ts';
import { invalidRequest } from '../../domain/errors.ts';
import { requireStorable } from '../storable.ts';
import { describeMistakes } from '../wire-fields.ts';

/** What goes back: JSON of ours, or bytes that a downstream system sent. */
export type Answer =
  | { kind: 'json'; body: Readonly<Record<string, unknown>> }
  | { kind: 'bytes'; payload: Uint8Array; contentType: string; nextPage: number | null };

/** A call whose request has been read; all that is left is to make it. */
export type ReadyCall = (broker: Broker, context: CallContext) => Promise<Answer>;

/** Who may speak through the Authorization header. */
export type TokenKind = 'session' | 'operator';

/** One call of a service, described once for every transport. */
export interface Call {
  readonly name: string;
  readonly method: DescMethodUnary;
  readonly httpMethod: 'GET' | 'POST';
  /** Path of the JSON route, with `{field}` where a field of the request stands in it. */
  readonly path: string;
  readonly pathField: string | null;
  readonly summary: string;
  /** Whose token opens it; empty for calls that no token opens. */
  readonly tokens: readonly TokenKind[];
  readonly deadlineSeconds: number;
  /** Whether it may spend its time waiting for people; such calls end when their listener closes. */
  readonly waits: boolean;
  readonly request: z.ZodObject;
  /** Null when the answer is another system's JSON. */
  readonly response: z.ZodObject | null;
  /**
   * Reads a request in its JSON form. `presented` is the token of the Authorization header. Throws `invalid_request` naming
   * every mistake, or the first text that no store can keep.
   */
  read(wire: unknown, presented: string | null): ReadyCall;
}

export interface Description<Fields extends z.ZodObject, Request, Response> {
  method: DescMethodUnary;
  /** POST unless given. */
  httpMethod?: 'GET';
  path: string;
  summary: string;
  /** Leave out for calls that no token opens. */
  tokens?: readonly TokenKind[];
  /** Where the token may stand besides the header. */
  tokenInBody?: (fields: z.output<Fields>) => string | null;
  deadlineSeconds?: number;
  waits?: true;
  request: Fields;
  decode: (fields: z.output<Fields>, token: string | null) => Request;
  useCase: (broker: Broker) => UseCase<Request, Response>;
}

// Longer than any store or key server takes when it is well, shorter than a client's own patience.
const DEADLINE_SECONDS = 10;

/** RFC 3339 in UTC, without a fraction when there is none: the way protobuf writes a Timestamp. */
export const rfc3339 = (date: Date): string => date.toISOString().replace('.000Z', 'Z');

/** Makes a call of its description. */
export function describe<Fields extends z.ZodObject, Request, Response>(
  description: Description<Fields, Request, Response>,
  response: z.ZodObject | null,
  encode: (response: Response) => Answer,
): Call {
  const { method, path, summary, tokens = [], tokenInBody, request, decode, useCase } = description;
  return {
    name: method.name,
    method,
    httpMethod: description.httpMethod ?? 'POST',
    path,
    pathField: /\{(\w+)\}/.exec(path)?.[1] ?? null,
    summary,
    tokens,
    deadlineSeconds: description.deadlineSeconds ?? DEADLINE_SECONDS,
    waits: description.waits ?? false,
    request,
    response,
    read(wire, presented) {
      requireStorable(wire);
      const parsed = request.safeParse(wire);
      if (!parsed.success) throw invalidRequest(describeMistakes(parsed.error));
      const decoded = decode(parsed.data, oneToken(tokenInBody?.(parsed.data) ?? null, presented));
      return async (broker, context) => encode(await useCase(broker)(decoded, context));
    },
  };
}

/** The same for a call whose answer is JSON of ours. */
export function describeJson<Fields extends z.ZodObject, Body extends z.ZodObject, Request, Response>(
  description: Description<Fields, Request, Response> & { response: Body; encode(response: Response): z.output<Body> },
): Call {
  return describe(description, description.response, (response) => ({ kind: 'json', body: description.encode(response) }));
}

function oneToken(inBody: string | null, presented: string | null): string | null {
  if (inBody !== null && presented !== null && inBody !== presented) {
    throw invalidRequest('session_token: differs from the token in the Authorization header; send one of them');
  }
  return inBody ?? presented;
}
