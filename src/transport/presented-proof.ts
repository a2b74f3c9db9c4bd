import type { FastifyRequest } from 'fastify';
import { invalidRequest } from '../domain/errors.ts';
import type { PresentedProof } from '../domain/proof.ts';
import type { TransportDeps } from './deps.ts';

// Host and port of RFC 3986 section 3.2 without user information: nothing that would end the host and begin a path of the caller's choice.
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const ABSOLUTE_TARGET = /^https?:\/\/([^/?#]*)(.*)$/i;

/**
 * What a request shows as proof of possession, with the URL that the proof must be about (RFC 9449 section 4.3). Null, and next to no
 * work, when it has no DPoP header. Throws `invalid_request` when nobody could tell which host it is for.
 *
 * Without a public base URL the host is what the request says it is. Whoever got hold of a proof made for another server could then
 * say so too, which is why a deployment names its own.
 */
export function presentedProof(
  request: FastifyRequest,
  deps: Pick<TransportDeps, 'publicBaseUrl' | 'tls'>,
): PresentedProof | null {
  if (request.headers.dpop === undefined) return null;
  return { proofs: proofsOf(request.raw.rawHeaders), method: request.method, url: urlOf(request, deps) };
}

/** Each header as it came: `headers` would join two into one. */
function proofsOf(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'dpop');
}

function urlOf(request: FastifyRequest, { publicBaseUrl, tls }: Pick<TransportDeps, 'publicBaseUrl' | 'tls'>): string {
  // The host of an absolute target counts before the header's (RFC 9112 section 3.2.2).
  const [, targetHost, targetPath] = ABSOLUTE_TARGET.exec(request.originalUrl) ?? [];
  const [path = ''] = (targetPath ?? request.originalUrl).split(/[?#]/, 1);
  if (publicBaseUrl !== null) return publicBaseUrl.origin + publicBaseUrl.pathname.replace(/\/+$/, '') + path;
  const host = targetHost ?? String(request.headers[':authority'] ?? request.headers.host ?? '');
  if (!HOST.test(host)) throw invalidRequest('host: is not a valid host');
  return `${tls === null ? 'http' : 'https'}://${host}${path}`;
}
