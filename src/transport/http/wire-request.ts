import type { FastifyRequest } from 'fastify';
import { invalidRequest } from '../../domain/errors.ts';
import type { Call } from '../calls.ts';
import { inOneLine, quotedKey } from '../wire-fields.ts';

/**
 * The request of a JSON route as one object: its body or, for a GET, its query, and the id that stands in the path. Whether it is
 * sound is for the call's schema to say. Throws `invalid_request` for a parameter that is given twice, and for an id that differs.
 */
export function wireRequest(call: Pick<Call, 'httpMethod' | 'pathField'>, request: FastifyRequest): unknown {
  const isGet = call.httpMethod === 'GET';
  const fields = isGet ? parametersOf(request.query) : (request.body ?? (request.body === null ? null : {}));
  if (call.pathField === null || typeof fields !== 'object' || fields === null || Array.isArray(fields)) return fields;
  const id = pathId(request.params, call.pathField);
  const given: unknown = Object.hasOwn(fields, call.pathField) ? Reflect.get(fields, call.pathField) : id;
  if (given !== id && given !== '' && given !== null) {
    const elsewhere = isGet ? 'query' : 'body';
    throw invalidRequest(`${call.pathField}: differs from the one in the path; leave it out of the ${elsewhere}`);
  }
  return { ...fields, [call.pathField]: id };
}

/** The router makes a list of a parameter that stands more than once. */
function parametersOf(query: unknown): object {
  const parameters = typeof query === 'object' && query !== null ? query : {};
  const repeated = Object.entries(parameters).filter(([, value]) => Array.isArray(value));
  if (repeated.length > 0) {
    throw invalidRequest(inOneLine(repeated.map(([name]) => `${quotedKey(name)}: must be given once`)));
  }
  return parameters;
}

function pathId(params: unknown, field: string): unknown {
  return typeof params === 'object' && params !== null ? Reflect.get(params, field) : undefined;
}
