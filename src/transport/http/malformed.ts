import type { Socket } from 'node:net';
import { ERROR_TABLE, errorBody } from '../errors.ts';
import type { BrokerError } from '../../domain/errors.ts';
import { deadlineExceeded, invalidRequest } from '../../domain/errors.ts';

/**
 * Answers bytes that are no HTTP request, in the shape of every other error, and closes the connection. The rate limit does
 * not count them: what breaks off in its body was counted when its head came, and behind a proxy the address is the proxy's.
 */
export function answerMalformed(error: Error, socket: Socket, requestId: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { line, told } = answerTo('code' in error ? error.code : undefined);
  const body = JSON.stringify(errorBody(told, requestId));
  socket.end(
    [
      `HTTP/1.1 ${line}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'cache-control: no-store',
      'x-content-type-options: nosniff',
      `x-request-id: ${requestId}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

// Codes of https://nodejs.org/api/http.html#event-clienterror
function answerTo(code: unknown): { line: string; told: BrokerError } {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { line: '431 Request Header Fields Too Large', told: invalidRequest('headers: must be 16 KiB at most') };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { line: '408 Request Timeout', told: deadlineExceeded('the request did not arrive in time') };
    default:
      return {
        line: `${ERROR_TABLE.invalid_request.status} Bad Request`,
        told: invalidRequest('request: is not valid HTTP'),
      };
  }
}
